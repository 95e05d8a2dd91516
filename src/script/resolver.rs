//! Resolves imports, only inside the scripts' folders.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread::ThreadId,
};

use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

use super::{
    check, library,
    running::RunningScript,
    thrown::{raise, thrown},
};
use crate::{
    error::{Error, ErrorKind},
    sync::lock,
};

/// Resolves the imports of one run. Each file is read once.
pub(crate) struct Resolver {
    folder: Option<PathBuf>,
    run: Arc<RunningScript>,
    loaded: Mutex<HashMap<Key, Shared<Module>>>,
    loading: Mutex<Vec<(ThreadId, Key)>>,
}

/// An imported file: whether a built-in file imports it, and its path. The same path can lead a
/// built-in file and the user's to different ones.
type Key = (bool, String);

impl Resolver {
    pub(crate) fn new(folder: Option<PathBuf>, run: &Arc<RunningScript>) -> Self {
        Self { folder, run: Arc::clone(run), loaded: Mutex::default(), loading: Mutex::default() }
    }

    fn load(
        &self,
        engine: &Engine,
        (from_built_in, path): &Key,
        position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        // A built-in file imports built-in files, whatever the user calls his own.
        let folder = self.folder.as_deref().filter(|_| !from_built_in);
        let (text, file) = raise(library::module(folder, path), position)?;
        self.run.remember_source(&file, &text);
        let inside = |error: Box<EvalAltResult>| {
            Box::new(EvalAltResult::ErrorInModule(file.clone(), error, position))
        };
        let mut ast = engine.compile(&text).map_err(|error| {
            inside(EvalAltResult::ErrorParsing(error.err_type().clone(), error.position()).into())
        })?;
        ast.set_source(file.as_str());
        check::check(&ast, &file, &text).map_err(|error| {
            let place =
                error.location.as_deref().map_or((0, 0), |place| (place.line, place.column));
            let [line, column] =
                [place.0, place.1].map(|number| u16::try_from(number).unwrap_or(u16::MAX));
            inside(thrown(&error, Position::new(line.max(1), column)))
        })?;
        Module::eval_ast_as_new(Scope::new(), &ast, engine).map(Shared::new).map_err(inside)
    }
}

impl ModuleResolver for Resolver {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let key = (
            source.is_some_and(library::is_built_in),
            path.strip_suffix(".rhai").unwrap_or(path).to_owned(),
        );
        if let Some(module) = lock(&self.loaded).get(&key) {
            return Ok(Shared::clone(module));
        }
        // A file that imports itself, directly or through others, would recurse until the stack
        // ends.
        let mine = (std::thread::current().id(), key.clone());
        if lock(&self.loading).contains(&mine) {
            let error = Error::new(ErrorKind::Script, format!("\"{path}\" imports itself"))
                .with_hint("move what both files need into a third one");
            return Err(thrown(&error, position));
        }
        lock(&self.loading).push(mine.clone());
        let module = self.load(engine, &key, position);
        lock(&self.loading).retain(|other| *other != mine);
        let module = module?;
        lock(&self.loaded).insert(key, Shared::clone(&module));
        Ok(module)
    }
}
