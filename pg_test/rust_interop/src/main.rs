//! Writes the events of a stream, one a line of JSON: name, data, id.
//!
//! Not for judging them: pg_test/tests/interoperability.rs does that.

use std::error::Error;
use std::time::Duration;

use eventsource_client::{Client as _, ClientBuilder, ReconnectOptions, SSE};
use futures_util::StreamExt as _;
use launchdarkly_sdk_transport::HyperTransport;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("the address of a stream")?;
    let transport = HyperTransport::builder().connect_timeout(Duration::from_secs(10)).build_http()?;
    let reconnect =
        ReconnectOptions::reconnect(true).retry_initial(true).delay(Duration::from_millis(200)).build();
    let client = ClientBuilder::for_url(&url)?.reconnect(reconnect).build_with_transport(transport);
    let mut stream = client.stream();
    while let Some(item) = stream.next().await {
        // The end of a stream is an item, too; the next one is of the connection after it.
        let Ok(SSE::Event(event)) = item else { continue };
        println!("{}", serde_json::json!([event.event_type, event.data, event.id]));
    }
    Ok(())
}
