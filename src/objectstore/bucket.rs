//! An object store in a bucket. Whether its objects can be read from here depends on the keys of
//! this process: Convoy has its own.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use super::{
    layout::FOLDER,
    place::{Content, Deadline, Found, Place},
};
use crate::{
    convoy::guards::Seen,
    error::{Error, ErrorKind},
    s3::{self, Extent, Objects},
};

/// Larger objects are not read as a whole.
const CHEAP_SIZE: u64 = 16 << 20;
/// From this many objects on, listing all is cheaper than asking for each.
const MANY_OBJECTS: usize = 50;

pub(super) struct Bucket {
    access: Access,
    deadline: Deadline,
}

/// The objects, and why they could not be read.
#[derive(Clone)]
struct Access {
    objects: Objects,
    failure: Arc<OnceLock<String>>,
}

impl Access {
    fn not_seen(&self, error: Error) -> Seen {
        let why = match error.hint {
            Some(hint) => format!("{} ({hint})", error.message),
            None => error.message,
        };
        Seen::Hidden(self.failure.get_or_init(|| why).clone())
    }
}

impl Bucket {
    /// The object store whose folder these objects are in. If they can't be read, `failure` gets
    /// the reason.
    pub(super) fn new(
        objects: Objects,
        deadline: Deadline,
        failure: Arc<OnceLock<String>>,
    ) -> Self {
        Self { access: Access { objects, failure }, deadline }
    }

    fn size(&self, path: &str) -> Found<Option<u64>> {
        self.deadline.check()?;
        let found = self.access.objects.head(path);
        found.map(|found| found.map(|(size, _)| size)).map_err(|error| self.access.not_seen(error))
    }
}

impl Place for Bucket {
    fn open(&self, path: &str) -> Found<Option<Box<dyn Content>>> {
        let Some(size) = self.size(path)? else { return Ok(None) };
        let (access, deadline) = (self.access.clone(), self.deadline);
        Ok(Some(Box::new(Object { access, path: path.to_owned(), size, deadline })))
    }

    fn sizes(&self, folder: &str, paths: &[String]) -> Found<Vec<Option<u64>>> {
        if paths.len() < MANY_OBJECTS {
            return paths.iter().map(|path| self.size(path)).collect();
        }
        let last_part = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut sizes: HashMap<_, _> = paths.iter().map(|path| (last_part(path), None)).collect();
        let mut in_time = Ok(());
        let listed = self.access.objects.list(folder, |name, object| {
            if let Some(size) = sizes.get_mut(name) {
                *size = Some(s3::size(object));
            }
            in_time = self.deadline.check();
            in_time.is_ok()
        });
        in_time?;
        listed.map_err(|error| self.access.not_seen(error))?;
        Ok(paths.iter().map(|path| sizes.get(&last_part(path)).copied().flatten()).collect())
    }

    fn cheap_size(&self) -> u64 {
        CHEAP_SIZE
    }
}

struct Object {
    access: Access,
    path: String,
    size: u64,
    deadline: Deadline,
}

impl Content for Object {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, length: usize) -> Found<Vec<u8>> {
        self.deadline.check()?;
        let left = self.size.saturating_sub(offset);
        let length = u32::try_from(left.min(length as u64)).unwrap_or(u32::MAX);
        if length == 0 {
            return Ok(Vec::new());
        }
        match self.access.objects.get(&self.path, Extent::Part(offset, length)) {
            Ok(bytes) => Ok(bytes.into()),
            // It was deleted since it was opened.
            Err(error) if error.kind == ErrorKind::NotFound => {
                Err(Seen::Broken(format!("its object \"{FOLDER}/{}\" is missing", self.path)))
            }
            Err(error) => Err(self.access.not_seen(error)),
        }
    }
}
