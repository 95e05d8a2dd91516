//! The threads of one run.

use std::{
    path::Path,
    thread::{self, Scope},
};

use super::{pack_writer::PackWriter, run::Run, worker::Worker};
use crate::{
    daemon::{
        repository::{Coder, Hash, guarded},
        threads,
    },
    error::{Error, Result},
    sync::lock,
};

/// Runs the workers and the writers until all is written.
pub(super) fn work<'a>(
    run: &'a Run<'a>,
    writer: &PackWriter<'_>,
    (folder, known): (&Path, Option<Hash>),
    workers: usize,
    coder: &(dyn Fn() -> Result<Coder> + Sync),
) -> Result<()> {
    let coders = (0..workers + writer.threads()).map(|_| coder()).collect::<Result<Vec<_>>>()?;
    thread::scope(|threads| {
        let _end = EndOfThreads { run, writer };
        // Before the others are ended: what they fail with then is not why.
        on_threads(threads, run, writer, (folder, known), coders)
            .unwrap_or_else(|error| run.fail(error));
    });
    if let Err(error) = writer.finish(&mut coder()?) {
        run.fail(error);
    }
    // Also after a failure: what is there is for the next run.
    if let Err(error) = run.backend.flush() {
        run.fail(error);
    }
    lock(&run.failure).take().map_or(Ok(()), Err)
}

/// Starts all threads, and waits for them. The first coders are the workers'.
///
/// # Errors
/// If a thread can't be started.
fn on_threads<'scope, 'a: 'scope>(
    threads: &'scope Scope<'scope, '_>,
    run: &'scope Run<'a>,
    writer: &'scope PackWriter<'_>,
    (folder, known): (&'scope Path, Option<Hash>),
    mut coders: Vec<Coder>,
) -> Result<()> {
    let mut writers = Vec::new();
    for mut coder in coders.split_off(coders.len() - writer.threads()) {
        writers.push(threads::spawn(threads, "writer", move || writer.run(&mut coder))?);
    }
    let mut working = Vec::new();
    for (number, coder) in coders.into_iter().enumerate() {
        let work = move || {
            let mut worker = Worker::new(run, coder);
            let worked = guarded("reading the volume", || {
                if number == 0 {
                    worker.root(folder, known)?;
                }
                worker.work();
                Ok(())
            });
            worked.unwrap_or_else(|error| run.fail(error));
        };
        working.push(threads::spawn(threads, "worker", work)?);
    }
    for worker in working {
        if worker.join().is_err() {
            run.fail(Error::internal("a worker has ended"));
        }
    }
    run.release();
    // What was read and packed is for the next run, also after a failure.
    if let Err(error) = run.blobs.finish() {
        run.fail(error);
    }
    writer.end();
    for writer in writers {
        if writer.join().is_err() {
            run.fail(Error::internal("a writer has ended"));
        }
    }
    Ok(())
}

/// Ends all threads when it is dropped, in whatever way that comes about: the scope waits for them.
struct EndOfThreads<'a> {
    run: &'a Run<'a>,
    writer: &'a PackWriter<'a>,
}

impl Drop for EndOfThreads<'_> {
    fn drop(&mut self) {
        self.run.queue.close();
        self.writer.end();
    }
}
