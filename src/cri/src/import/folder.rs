//! All archives of a folder, each only once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use copepod_base::{Shutdown, file};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{Error, Imported, Importer};

/// What became of one archive.
#[derive(Debug)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: Outcome,
}

/// See [`Report`].
#[derive(Debug)]
pub enum Outcome {
    /// Its images are there now.
    Imported(Vec<Imported>),
    /// Its images, by name, were there already.
    Unchanged(Vec<String>),
    /// It could not be imported; the next start tries again.
    Failed(Error),
}

/// What is remembered of an archive that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    size: u64,
    modified_ns: i128,
    sha256: String,
    names: Vec<String>,
}

type Cache = BTreeMap<String, Remembered>;

impl Importer {
    /// Imports the archives directly in `folder`, one after the other, in the background.
    ///
    /// An archive is skipped when size and modification time, or else its digest, are as noted in the file `cache` and
    /// its images are still there. A missing folder is an empty one. Hidden files are not looked at, so that an archive
    /// can be copied under a hidden name and renamed. The channel closes when all are done.
    #[must_use]
    pub fn import_folder(&self, folder: &Path, cache: &Path, shutdown: &Shutdown) -> mpsc::Receiver<Report> {
        let (sender, receiver) = mpsc::channel(16);
        let importer = self.clone();
        let (folder, cache) = (folder.to_owned(), cache.to_owned());
        shutdown.spawn_until_cancelled("import-images", async move {
            importer.all_of(&folder, &cache, &sender).await;
        });
        receiver
    }

    async fn all_of(&self, folder: &Path, cache_path: &Path, sender: &mpsc::Sender<Report>) {
        let archives = match list(folder) {
            Ok(archives) => archives,
            Err(source) => {
                let path = folder.to_owned();
                let outcome = Outcome::Failed(Error::Open { path: path.clone(), source });
                let _ = sender.send(Report { path, outcome }).await;
                return;
            }
        };
        // A damaged cache only costs the time of importing again.
        let old: Cache =
            fs::read(cache_path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let mut new = Cache::new();
        for path in archives {
            let key = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let outcome = match self.one_of(&path, old.get(&key)).await {
                Ok((remembered, outcome)) => {
                    new.insert(key, remembered);
                    outcome
                }
                Err(error) => Outcome::Failed(error),
            };
            // Written after each: a large import shall not be repeated because a later one was interrupted.
            let mut known = old.clone();
            known.extend(new.clone());
            save(cache_path, &known);
            // Nobody listening is no reason to stop.
            let _ = sender.send(Report { path, outcome }).await;
        }
        save(cache_path, &new);
    }

    async fn one_of(&self, path: &Path, old: Option<&Remembered>) -> Result<(Remembered, Outcome), Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        let modified_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        if let Some(old) = old.filter(|old| old.size == meta.len()) {
            let same = old.modified_ns == modified_ns || digest(path).await.map_err(failed)? == old.sha256;
            if same && self.has_all(&old.names).await? {
                let now = Remembered { modified_ns, ..old.clone() };
                return Ok((now, Outcome::Unchanged(old.names.clone())));
            }
        }
        let hash = Arc::new(Mutex::new(Sha256::new()));
        let images = self.import(Hashing { file, hash: hash.clone() }).await?;
        let sha256 = hex::encode(hash.lock().finalize_reset());
        let names = images.iter().flat_map(|image| image.names.clone()).collect();
        Ok((Remembered { size: meta.len(), modified_ns, sha256, names }, Outcome::Imported(images)))
    }

    async fn has_all(&self, names: &[String]) -> Result<bool, Error> {
        for name in names {
            if !self.has(name).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn save(path: &Path, cache: &Cache) {
    let written = serde_json::to_vec(cache).map_err(io::Error::from).and_then(|text| {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        file::write_atomic(path, &text, 0o600)
    });
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), "cannot note imported images, they are imported again: {error}");
    }
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // Through symbolic links, as people place large files.
        if !hidden && fs::metadata(entry.path()).is_ok_and(|meta| meta.is_file()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

async fn digest(path: &Path) -> io::Result<String> {
    let path = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || {
        let mut reader = Hashing { file: File::open(path)?, hash: Arc::new(Mutex::new(Sha256::new())) };
        io::copy(&mut reader, &mut io::sink())?;
        let sum = reader.hash.lock().finalize_reset();
        Ok(hex::encode(sum))
    });
    hashed.await.map_err(io::Error::other)?
}

/// Hashes what is read.
struct Hashing {
    file: File,
    hash: Arc<Mutex<Sha256>>,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.lock().update(&buffer[..count]);
        Ok(count)
    }
}
