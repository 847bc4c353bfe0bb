//! Vendor that holds a call back until the benchmark releases it.

use std::sync::Arc;

use llm_core::{
    Call, ChatRequest, ChatResponse,
    layer::{ResponseFuture, always_ready},
};
use tokio::sync::Semaphore;
use tower::Service;

use crate::vendor::AtOnce;

/// [`AtOnce`] behind a gate that holds calls back. Clones share the gate.
#[derive(Clone, Debug)]
pub struct Gated {
    vendor: AtOnce,
    gate: Arc<Semaphore>,
}

impl Gated {
    /// Creates a vendor with a closed gate.
    pub fn new(vendor: AtOnce) -> Self {
        Self { vendor, gate: Arc::new(Semaphore::new(0)) }
    }

    /// Releases one call.
    pub fn open(&self) {
        self.gate.add_permits(1);
    }
}

impl Service<Call<ChatRequest>> for Gated {
    always_ready!(ChatResponse);

    fn call(&mut self, call: Call<ChatRequest>) -> Self::Future {
        let Self { mut vendor, gate } = self.clone();
        ResponseFuture::waiting(async move {
            gate.acquire().await.expect("the gate is never taken away").forget();
            vendor.call(call).await
        })
    }
}
