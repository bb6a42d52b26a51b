//! The tokens that made something: a file each, so that none makes anything once more when its container
//! is gone. While a container is there, the engine says so itself.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use drover_model::Token;

/// How long a token is remembered after its container was made or asked to end: a call is repeated within
/// minutes, and a week is beyond doubt.
const KEEP: Duration = Duration::from_hours(7 * 24);

/// How often what is past that is cleared away.
const CLEAR_EVERY: Duration = Duration::from_hours(24);

/// The tokens of one Provider document. Nothing is made before the first one is noted.
#[derive(Debug, Clone)]
pub(crate) struct Spent {
    folder: PathBuf,
    cleared: Arc<Mutex<Option<Instant>>>,
}

impl Spent {
    pub(crate) fn below(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            cleared: Arc::default(),
        }
    }

    /// Returns whether a token made something.
    pub(crate) async fn has(&self, token: &Token) -> io::Result<bool> {
        let path = self.folder.join(token.as_str());
        blocking(move || path.try_exists()).await
    }

    /// Takes note that a token made something. When it returns, that survives a crash.
    pub(crate) async fn note(&self, token: &Token) -> io::Result<()> {
        let (this, token) = (self.clone(), token.clone());
        blocking(move || this.write(&token)).await
    }

    fn write(&self, token: &Token) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut file = File::create(self.folder.join(token.as_str()))?;
        // A byte, so that a note that is written once more gets another time.
        file.write_all(b"\n")?;
        file.sync_all()?;
        File::open(&self.folder)?.sync_all()?;
        if self.is_time_to_clear() {
            self.clear(SystemTime::now())?;
        }
        Ok(())
    }

    fn is_time_to_clear(&self) -> bool {
        let mut cleared = self.cleared.lock().unwrap_or_else(PoisonError::into_inner);
        let due = cleared.is_none_or(|at| at.elapsed() >= CLEAR_EVERY);
        if due {
            *cleared = Some(Instant::now());
        }
        due
    }

    /// Forgets what is long past.
    fn clear(&self, now: SystemTime) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let noted = entry.metadata().and_then(|metadata| metadata.modified());
            let age = noted.map(|noted| now.duration_since(noted).unwrap_or_default());
            if age.is_ok_and(|age| age >= KEEP) {
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        Token::parse(&text.repeat(32)).unwrap()
    }

    #[tokio::test]
    async fn a_token_is_known_from_when_it_is_noted_also_to_the_next_agent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker/local");
        let spent = Spent::below(&path);
        assert!(!spent.has(&token("a")).await.unwrap());
        assert!(!path.exists(), "looking makes nothing");
        spent.note(&token("a")).await.unwrap();
        spent.note(&token("a")).await.unwrap();
        let next = Spent::below(&path);
        assert!(next.has(&token("a")).await.unwrap());
        assert!(!next.has(&token("b")).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_a_week_old_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let spent = Spent::below(folder.path());
        spent.note(&token("a")).await.unwrap();
        let soon = SystemTime::now() + KEEP - Duration::from_mins(1);
        spent.clear(soon).unwrap();
        assert!(spent.has(&token("a")).await.unwrap());
        let late = SystemTime::now() + KEEP + Duration::from_mins(1);
        spent.clear(late).unwrap();
        assert!(!spent.has(&token("a")).await.unwrap());
    }
}
