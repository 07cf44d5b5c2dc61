//! A bucket that is reached without a network: what the client sends is answered at once, within the call. So a
//! scheduler that polls by hand can drive the whole client of S3, with its signatures and its headers.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};

use crate::land::creates::Creates;
use crate::land::fake_s3::FakeS3;
use crate::store::Store;

/// A store of the tests.
pub(super) struct Wire(Arc<FakeS3>);

impl Wire {
    pub(super) fn to(creates: Creates) -> Self {
        Self(Arc::new(FakeS3::start_as(creates)))
    }

    /// A new lake; what was there before is gone.
    pub(super) fn lake(&self) -> Store {
        self.0.clear();
        let mut variables = self.0.environment();
        // The client's own limit counts, which needs a runtime, and is never met.
        variables.push(("AWS_TIMEOUT".to_owned(), "60s".to_owned()));
        let network = Arc::new(Network(Arc::clone(&self.0)));
        Store::s3_over(network, &self.0.lake("lake"), variables).expect("settings")
    }
}

#[derive(Clone)]
struct Network(Arc<FakeS3>);

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

impl HttpConnector for Network {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let _ = options;
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Network {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = s3s::Body::http_body(body).store_all_limited(usize::MAX).await.expect("a body");
        let answered = self.0.answer(parts, body).await.expect("an answer");
        let (parts, mut body) = answered.into_parts();
        let body = body.store_all_limited(usize::MAX).await.expect("a body");
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}
