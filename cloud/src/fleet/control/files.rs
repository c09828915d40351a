//! `GET /release/v1/{sha256}`: release files on the enrolment listener, whole or from a byte on.
//!
//! A file is found by its SHA-256 only, which nobody guesses, and holds no secret. Every connection there is short, so a
//! vehicle fetches a file in several: each goes on where the one before ended.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use super::releases;
use crate::fleet::database::FleetDatabase;
use avl_shared::release::{PATH, is_sha256};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Files sent at one time; the listener has room for more connections, and enrolment wants some.
const MAX_DOWNLOADS: usize = 32;
const PIECE_BYTES: usize = 64 * 1024;

/// Where the files are kept.
#[derive(Clone, Debug)]
pub enum ReleaseFiles {
    /// Each a file under its SHA-256.
    Folder(PathBuf),
    /// Each in parts.
    Database(FleetDatabase),
}

/// A file that is being read.
enum Opened {
    File(File),
    Parts(FleetDatabase, String),
}

impl ReleaseFiles {
    /// The file and its length.
    async fn open(&self, sha256: String) -> io::Result<(Opened, u64)> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(sha256);
                let opened = tokio::task::spawn_blocking(move || {
                    let file = File::open(path)?;
                    let length = file.metadata()?.len();
                    io::Result::Ok((Opened::File(file), length))
                });
                opened.await.map_err(io::Error::other)?
            }
            Self::Database(database) => {
                let length = releases::postgres::size(database, &sha256).await?;
                Ok((Opened::Parts(database.clone(), sha256), length))
            }
        }
    }
}

impl Opened {
    /// Some bytes from `at` on, at least one and none beyond `to`.
    async fn read(self, at: u64, to: u64) -> io::Result<(Self, Bytes)> {
        match self {
            Self::File(mut file) => {
                let read = tokio::task::spawn_blocking(move || {
                    let want = usize::try_from(to - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
                    let mut piece = vec![0; want];
                    file.seek(SeekFrom::Start(at))?;
                    file.read_exact(&mut piece)?;
                    io::Result::Ok((Self::File(file), Bytes::from(piece)))
                });
                read.await.map_err(io::Error::other)?
            }
            Self::Parts(database, sha256) => {
                let mut piece = Bytes::from(releases::postgres::read(&database, &sha256, at).await?);
                piece.truncate(usize::try_from(to - at).unwrap_or(usize::MAX));
                Ok((Self::Parts(database, sha256), piece))
            }
        }
    }
}

#[derive(Clone)]
struct Shared {
    files: ReleaseFiles,
    downloads: Arc<Semaphore>,
}

/// The service over these files.
pub fn router(files: ReleaseFiles) -> Router {
    let shared = Shared { files, downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)) };
    Router::new().route(&format!("{PATH}{{sha256}}"), get(serve)).with_state(shared)
}

async fn serve(
    State(shared): State<Shared>,
    UrlPath(sha256): UrlPath<String>,
    headers: HeaderMap,
) -> Response {
    if !is_sha256(&sha256) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let Ok(place) = Arc::clone(&shared.downloads).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "30")]).into_response();
    };
    match shared.files.open(sha256).await {
        Ok((file, length)) => respond(file, length, &headers, place),
        Err(error) if error.kind() == io::ErrorKind::NotFound => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::error!(%error, "a release file cannot be read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn respond(file: Opened, length: u64, headers: &HeaderMap, place: OwnedSemaphorePermit) -> Response {
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let (status, from, to) = match range.map(|range| parse_range(range, length)) {
        // A range that is not understood is ignored (RFC 9110, section 14.2).
        None | Some(Range::Ignored) => (StatusCode::OK, 0, length),
        Some(Range::Part { from, to }) => (StatusCode::PARTIAL_CONTENT, from, to),
        Some(Range::Outside) => {
            let all = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, all).into_response();
        }
    };
    let mut response = (status, body(file, from, to, place)).into_response();
    let headers = response.headers_mut();
    let mut set = |name, value: String| {
        if let Ok(value) = value.try_into() {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, "application/octet-stream".to_owned());
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::CONTENT_LENGTH, (to - from).to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        set(header::CONTENT_RANGE, format!("bytes {from}-{}/{length}", to.saturating_sub(1)));
    }
    response
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// `to` does not belong to it.
    Part {
        from: u64,
        to: u64,
    },
    Outside,
    Ignored,
}

/// One range with a start, as a download that goes on needs it.
fn parse_range(text: &str, length: u64) -> Range {
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Range::Ignored;
    };
    let Ok(from) = from.parse::<u64>() else { return Range::Ignored };
    let to = match to {
        "" => length,
        to => match to.parse::<u64>() {
            Ok(last) if last >= from => last.saturating_add(1).min(length),
            _ => return Range::Ignored,
        },
    };
    if from < length { Range::Part { from, to } } else { Range::Outside }
}

/// Read a piece at a time; the permit goes when the last piece has, or the client.
fn body(file: Opened, from: u64, to: u64, place: OwnedSemaphorePermit) -> Body {
    let state = Some((file, from, place));
    Body::from_stream(stream::unfold(state, move |state| async move {
        let (file, at, place) = state?;
        if at >= to {
            return None;
        }
        match file.read(at, to).await {
            Ok((file, piece)) => {
                let next = at + piece.len() as u64;
                Some((Ok(piece), Some((file, next, place))))
            }
            Err(error) => Some((Err(error), None)),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use axum::http::Request;
    use std::path::Path;
    use tower::ServiceExt;

    async fn get(folder: &Path, path: &str, range: Option<&str>) -> (StatusCode, Vec<u8>, String) {
        let mut request = Request::get(path);
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let response = router(ReleaseFiles::Folder(folder.to_owned()))
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let stands = parts.headers.get(header::CONTENT_RANGE).map_or("", |value| value.to_str().unwrap());
        (parts.status, to_bytes(body, usize::MAX).await.unwrap().into(), stands.to_owned())
    }

    #[tokio::test]
    async fn a_file_comes_whole_or_from_a_byte_on() {
        let temp = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        std::fs::write(temp.path().join("ab".repeat(32)), &content).unwrap();
        let path = format!("{PATH}{}", "ab".repeat(32));
        let (status, body, _) = get(temp.path(), &path, None).await;
        assert_eq!((status, body == content), (StatusCode::OK, true));
        let (status, body, stands) = get(temp.path(), &path, Some("bytes=150000-")).await;
        assert_eq!((status, body == content[150_000..]), (StatusCode::PARTIAL_CONTENT, true));
        assert_eq!(stands, "bytes 150000-199999/200000");
        assert_eq!(get(temp.path(), &path, Some("bytes=10-19")).await.1, content[10..20]);
        assert_eq!(get(temp.path(), &path, Some("bytes=200000-")).await.0, StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(get(temp.path(), &path, Some("lines=1-2")).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn nothing_else_is_served() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("releases");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(temp.path().join("secret"), "s").unwrap();
        for name in ["..%2Fsecret", "secret", &"cd".repeat(32), ""] {
            assert_eq!(get(&folder, &format!("{PATH}{name}"), None).await.0, StatusCode::NOT_FOUND, "{name}");
        }
    }

    #[test]
    fn ranges_that_make_no_sense_are_ignored() {
        for text in ["bytes=-5", "bytes=a-", "bytes=5-4", "bytes=1-2,4-5", "bytes", ""] {
            assert_eq!(parse_range(text, 100), Range::Ignored, "{text:?}");
        }
        assert_eq!(parse_range("bytes=5-18446744073709551615", 100), Range::Part { from: 5, to: 100 });
    }
}
