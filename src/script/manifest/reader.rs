//! What every part of a declaration is read with.

use rhai::{AST, Expr, Position, Stmt};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    script::thrown::located,
};

/// Where a declaration is read; errors name the place.
pub(super) struct Reader<'a> {
    pub(super) ast: &'a AST,
    pub(super) file: &'a str,
    pub(super) source: &'a str,
}

impl<'a> Reader<'a> {
    pub(super) fn wrong(&self, position: Position, message: impl Into<String>) -> Error {
        located(Error::new(ErrorKind::Script, message), self.file, self.source, position)
    }

    /// The value of the script's constant `name`; `None` if the script has no such constant.
    pub(super) fn constant(&self, name: &str, example: &str) -> Result<Option<&'a Expr>> {
        for statement in self.ast.statements() {
            if let Stmt::Var(variable, flags, position) = statement
                && variable.0.name == name
            {
                if !flags.contains(rhai::ASTFlags::CONSTANT) {
                    return Err(self
                        .wrong(*position, format!("{name} must be a constant"))
                        .with_hint(format!("write \"const {name} = {example};\"")));
                }
                return Ok(Some(&variable.1));
            }
        }
        Ok(None)
    }
}

/// The value of an expression that is written out; `None` if it is computed.
pub(super) fn literal(expression: &Expr) -> Option<Value> {
    expression.get_literal_value(None).and_then(|value| serde_json::to_value(&value).ok())
}
