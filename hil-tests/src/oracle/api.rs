//! The cloud as any client sees it: HTTP and JSON, nothing else.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A fix as the API and `avl-edge decode` print it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Row {
    pub time: Option<String>,
    pub lat: Option<f64>,
    pub lon: Option<f64>,
    pub alt_m: Option<f64>,
    pub speed_mps: Option<f64>,
    pub course_deg: Option<f64>,
    pub hdop: Option<f64>,
    pub satellites: Option<u8>,
    pub quality: String,
    pub verdict: String,
    /// Only in the API.
    pub inputs: Option<u16>,
    pub odometer_m: Option<u64>,
    pub epoch: Option<String>,
    pub sequence: Option<u64>,
    pub received_at: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Page {
    positions: Vec<Row>,
    next_cursor: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct VehicleRow {
    pub fleet: String,
    pub vehicle: String,
    pub fixes: u64,
    pub latest: Option<Row>,
}

#[derive(Clone, Debug, Deserialize)]
struct Vehicles {
    vehicles: Vec<VehicleRow>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Completeness {
    pub complete: bool,
    pub received: u64,
    pub missing: u64,
    pub lost: u64,
}

/// Any answer: what was said, and how.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub content_type: String,
    pub body: String,
}

#[derive(Clone, Debug)]
pub struct Api {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Api {
    /// `http` is `host:port`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(http: &str, token: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { client, base: format!("http://{http}"), token: token.trim().to_owned() })
    }

    /// # Errors
    /// When nobody answers.
    pub async fn ask(&self, path: &str, token: Option<&str>) -> anyhow::Result<Answer> {
        let mut request = self.client.get(format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.with_context(|| format!("GET {path}"))?;
        let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        Ok(Answer {
            status: response.status(),
            content_type: content_type.unwrap_or_default().to_owned(),
            body: response.text().await?,
        })
    }

    /// # Errors
    /// When nobody answers, or the answer is not a success.
    pub async fn text(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.ask(path, Some(&self.token)).await?;
        anyhow::ensure!(answer.status.is_success(), "GET {path}: {} {}", answer.status, answer.body);
        Ok(answer.body)
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let body = self.text(path).await?;
        serde_json::from_str(&body).with_context(|| format!("GET {path} answered {body:.300}"))
    }

    /// # Errors
    /// See [`Api::text`].
    pub async fn vehicles(&self) -> anyhow::Result<Vec<VehicleRow>> {
        Ok(self.json::<Vehicles>("/api/v1/vehicles").await?.vehicles)
    }

    /// How many fixes the cloud says it has; 0 for a vehicle it does not know yet.
    ///
    /// # Errors
    /// See [`Api::text`].
    pub async fn fixes(&self, vehicle: &str) -> anyhow::Result<u64> {
        let path = format!("/api/v1/vehicles/{vehicle}");
        let answer = self.ask(&path, Some(&self.token)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(0);
        }
        anyhow::ensure!(answer.status.is_success(), "GET {path}: {} {}", answer.status, answer.body);
        Ok(serde_json::from_str::<VehicleRow>(&answer.body).context(answer.body)?.fixes)
    }

    /// Every position of a vehicle, page by page.
    ///
    /// # Errors
    /// See [`Api::text`].
    pub async fn positions(&self, vehicle: &str) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut cursor = String::new();
        loop {
            // An odd page size, so that no page ends where a batch does.
            let path = format!("/api/v1/vehicles/{vehicle}/positions?limit=997{cursor}");
            let page: Page = self.json(&path).await?;
            anyhow::ensure!(
                !page.positions.is_empty() || page.next_cursor.is_none(),
                "an empty page that promises more would never end"
            );
            rows.extend(page.positions);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(rows),
            }
        }
    }

    /// # Errors
    /// See [`Api::text`].
    pub async fn completeness(&self, vehicle: &str) -> anyhow::Result<Completeness> {
        self.json(&format!("/api/v1/vehicles/{vehicle}/completeness")).await
    }

    /// A link that signs one browser in.
    ///
    /// # Errors
    /// When the cloud gives none.
    pub async fn sign_in_link(&self) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Link {
            url: String,
        }
        let url = format!("{}/api/v1/sign-in-links", self.base);
        let response = self.client.post(url).bearer_auth(&self.token).send().await?;
        let status = response.status();
        let body = response.text().await?;
        anyhow::ensure!(status.is_success(), "no sign-in link: {status} {body}");
        Ok(serde_json::from_str::<Link>(&body).context(body)?.url)
    }

    /// Sends JSON; whatever is answered is returned.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn order(
        &self,
        method: reqwest::Method,
        path: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<Answer> {
        let request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        let response = request.json(body).send().await.with_context(|| path.to_owned())?;
        let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        Ok(Answer {
            status: response.status(),
            content_type: content_type.unwrap_or_default().to_owned(),
            body: response.text().await?,
        })
    }

    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }
}
