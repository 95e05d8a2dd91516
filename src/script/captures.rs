//! Finds closures inside of `parallel` that assign to a variable from outside. Each thread has its
//! own copies of such variables, so that the assignment would be lost.
//!
//! This finds what stands in the call itself: `parallel(items, 4, |item| { total += item; })`, and
//! closures inside of that closure. The call of `parallel` refuses the rest.

use rhai::{AST, ASTNode, Expr, FnPtr, Position, Stmt};

use crate::error::{Error, ErrorKind};

/// A closure in a script: the function that Rhai made of it, and the variables from outside, which
/// are the function's first parameters.
struct Closure<'a> {
    function: String,
    captured: Vec<&'a str>,
}

/// The first assignment of a closure inside of `parallel` to a variable from outside.
pub(super) fn assignment_in_parallel(ast: &AST) -> Option<(Error, Position)> {
    let mut found = None;
    ast.walk(&mut |path| {
        let call = match path.last() {
            Some(
                ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _))
                | ASTNode::Stmt(Stmt::FnCall(call, _)),
            ) => call,
            _ => return true,
        };
        if call.name == "parallel" && call.namespace.is_empty() {
            found = call
                .args
                .last()
                .and_then(closure)
                .and_then(|closure| assignment(ast, &closure.function, &closure.captured));
        }
        found.is_none()
    });
    found.map(|(name, position)| (refusal(&format!("\"{name}\"")), position))
}

/// The error for a closure that would change what is outside of it.
pub(super) fn refusal(what: &str) -> Error {
    Error::new(
        ErrorKind::Script,
        format!("the function for \"parallel\" can't change {what}, which is outside of it"),
    )
    .with_hint("return the value: parallel gives the results in the order of the items")
}

/// The first assignment in a function to one of these variables.
fn assignment(ast: &AST, function: &str, captured: &[&str]) -> Option<(String, Position)> {
    let mut body = ast.clone_functions_only();
    body.retain_functions(|_, _, name, _| name == function);
    // A variable of the closure's own may have the same name. Then the call decides.
    let mut own: Vec<String> = Vec::new();
    body.walk(&mut |path| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Var(variable, ..))) => own.push(variable.0.name.to_string()),
            Some(ASTNode::Stmt(Stmt::For(parts, _))) => {
                own.push(parts.0.name.to_string());
                own.extend(parts.1.as_ref().map(|counter| counter.name.to_string()));
            }
            _ => {}
        }
        true
    });
    let is_outside = |name: &str| captured.contains(&name) && !own.iter().any(|own| own == name);
    let mut found = None;
    body.walk(&mut |path| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Assignment(parts))) => {
                found = root(&parts.1.lhs).filter(|(name, _)| is_outside(name));
            }
            Some(ASTNode::Expr(expression)) => {
                if let Some(mut inner) = closure(expression) {
                    inner.captured.retain(|name| is_outside(name));
                    found = assignment(ast, &inner.function, &inner.captured);
                }
            }
            _ => {}
        }
        found.is_none()
    });
    found
}

/// The closure that an expression makes. Rhai makes `|item| total + item` to a function with the
/// parameters `total` and `item`, and the expression to a block: it shares `total`, and gives it
/// to the function.
fn closure(expression: &Expr) -> Option<Closure<'_>> {
    let Expr::Stmt(block) = expression else { return None };
    let [Stmt::Share(shared), last] = block.statements() else { return None };
    let call = match last {
        Stmt::FnCall(call, _) => call,
        Stmt::Expr(expression) => match &**expression {
            Expr::FnCall(call, _) => call,
            _ => return None,
        },
        _ => return None,
    };
    let Some(Expr::DynamicConstant(function, _)) = call.args.first() else { return None };
    Some(Closure {
        function: function.clone().try_cast::<FnPtr>()?.fn_name().to_owned(),
        captured: shared.iter().map(|(variable, _)| variable.name.as_str()).collect(),
    })
}

/// The variable that an assignment changes: `map` in `map.list[0] = 1`.
fn root(target: &Expr) -> Option<(String, Position)> {
    match target {
        Expr::Variable(variable, _, position) if variable.2.is_empty() => {
            Some((variable.1.to_string(), *position))
        }
        Expr::Dot(parts, ..) | Expr::Index(parts, ..) => root(&parts.lhs),
        _ => None,
    }
}
