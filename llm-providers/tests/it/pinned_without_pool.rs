//! Tests of a call for one group of a key pool, at a client without a pool above it.

use llm_core::{
    Call, Charge, ChatRequest, ErrorKind, Provider,
    layer::{MemberId, Pinned},
};
use llm_providers::OpenAi;
use llm_testkit::Vendor;

#[tokio::test(start_paused = true)]
async fn pinned_without_pool_is_refused_unsent() {
    let vendor = Vendor::new();
    let client = OpenAi::with_transport("no-real-key", vendor.transport()).unwrap();
    let mut call = Call::new("acme", ChatRequest::new("gpt-4o-mini").user("And then?"));
    call.extensions.insert(Pinned::to("eu"));
    let error = client.chat(call.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.charge(), vendor.calls()), (ErrorKind::Unsupported, Charge::None, 0));
    assert!(error.message().contains("\"eu\"") && error.message().contains("KeyPool"), "{error}");
    // A pool sets the name of the member that it sends the call to.
    call.extensions.insert(MemberId::from(std::sync::Arc::<str>::from("eu-1")));
    assert!(client.chat(call).await.is_ok());
}
