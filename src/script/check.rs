//! Finds calls of primitives that do not exist before a script runs. Otherwise such a script would
//! fail half way.

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::{captures, errors, primitives::NAMESPACES, reference::reference, thrown::located};
use crate::error::Result;

/// Checks each call of a primitive with its namespace: the name must exist with that number of
/// parameters. Wrong types show only when the script runs. A closure inside of `parallel` must not
/// assign to a variable from outside.
///
/// # Errors
/// [`crate::error::ErrorKind::Script`] with the place of the first wrong call.
pub(crate) fn check(ast: &AST, file: &str, source: &str) -> Result<()> {
    let mut wrong: Option<(String, usize, Position)> = None;
    let mut imported: Vec<String> = Vec::new();
    ast.walk(&mut |path| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Import(import, _))) => {
                imported.push(import.1.name.to_string())
            }
            Some(
                ASTNode::Expr(Expr::FnCall(call, position))
                | ASTNode::Stmt(Stmt::FnCall(call, position)),
            ) => {
                let namespace = call.namespace.to_string();
                let namespace = namespace.trim_end_matches("::");
                if NAMESPACES.contains(&namespace)
                    && !imported.iter().any(|name| name == namespace)
                    && !reference().iter().any(|entry| {
                        entry.namespace == namespace
                            && entry.name == *call.name
                            && entry.arity == call.args.len()
                    })
                {
                    wrong =
                        Some((format!("{namespace}::{}", call.name), call.args.len(), *position));
                    return false;
                }
            }
            _ => {}
        }
        true
    });
    match wrong {
        None => match captures::assignment_in_parallel(ast) {
            None => Ok(()),
            Some((error, position)) => Err(located(error, file, source, position)),
        },
        Some((path, arguments, position)) => {
            Err(located(errors::unknown_call(&path, &count(arguments)), file, source, position))
        }
    }
}

fn count(arguments: usize) -> String {
    match arguments {
        0 => "nothing".into(),
        1 => "one argument".into(),
        _ => format!("{arguments} arguments"),
    }
}
