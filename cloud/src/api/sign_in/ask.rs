//! Asking a running server for a sign-in link, with the token in its data directory.
//!
//! Links live in the server's memory, so only the server can make one.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::SignInLink;
use crate::api::auth::secret::{SecretError, TOKEN_FILE, read_token};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const MAX_ANSWER_BYTES: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{0}: is it the data directory of a server that has run?")]
    Token(#[from] SecretError),
    #[error(
        "no server answers at http://{address} ({cause}): start it with 'avl-cloud all --data-dir {data_dir}', or name its address with --http"
    )]
    Unreachable { address: String, data_dir: String, cause: String },
    #[error(
        "the server at http://{address} does not accept the token in {token_file}: it runs on another data directory; name that with --data-dir"
    )]
    WrongServer { address: String, token_file: String },
    #[error("the server at http://{address} answered {status} ({detail})")]
    Refused { address: String, status: StatusCode, detail: String },
    #[error("what answers at http://{address} is not avl-cloud ({cause}): name its address with --http")]
    NotOurs { address: String, cause: String },
}

/// # Errors
/// [`AskError`].
pub async fn ask_for_link(data_dir: &Path, address: &str) -> Result<SignInLink, AskError> {
    let token = read_token(data_dir)?;
    let address = address.to_owned();
    let unreachable = |cause: String| {
        let (address, data_dir) = (address.clone(), data_dir.display().to_string());
        AskError::Unreachable { address, data_dir, cause }
    };
    let (status, body) = match tokio::time::timeout(ANSWER_WITHIN, post(&address, token.as_str())).await {
        Ok(answer) => answer.map_err(|error| unreachable(error.to_string()))?,
        Err(_) => return Err(unreachable(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))),
    };
    match status {
        StatusCode::CREATED => serde_json::from_slice(&body)
            .map_err(|error| AskError::NotOurs { address, cause: error.to_string() }),
        StatusCode::UNAUTHORIZED => {
            let token_file = data_dir.join(TOKEN_FILE).display().to_string();
            Err(AskError::WrongServer { address, token_file })
        }
        _ => {
            let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            let detail = problem
                .as_ref()
                .and_then(|problem| problem["detail"].as_str())
                .unwrap_or("it gave no reason");
            Err(AskError::Refused { address, status, detail: detail.to_owned() })
        }
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

async fn post(address: &str, token: &str) -> Result<(StatusCode, Bytes), Cause> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post("/api/v1/sign-in-links")
        .header(header::HOST, address)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_LENGTH, 0)
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await?.to_bytes();
    connection.abort();
    Ok((status, body))
}
