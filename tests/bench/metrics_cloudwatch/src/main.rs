//! CPU, memory and disk at 1 Hz, published once a minute by metrics_cloudwatch; AWS's environment says where to.

use std::time::Duration;

use futures_util::FutureExt as _;
use hostgauge_collectors::{Collector, Cpu, Disk, Emitter, Memory, Roots};

/// What hostgauge publishes by default of a machine without GPUs.
const PUBLISHED: [&str; 3] =
    ["hostgauge_cpu_utilization_percent", "hostgauge_memory_utilization_percent", "hostgauge_disk_utilization_percent"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest()).load().await;
    let client = aws_sdk_cloudwatch::Client::new(&config);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let driver = metrics_cloudwatch::Builder::new()
        .cloudwatch_namespace("hostgauge/Peer")
        .default_dimension("Host", "bench/algo-1")
        .send_interval_secs(60)
        .shutdown_signal(stopped.map(|_| ()).boxed())
        .init_async(client, metrics::set_global_recorder)
        .await?;
    let publisher = tokio::spawn(driver);
    std::thread::spawn(sample);
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?.recv().await;
    drop(stop);
    publisher.await?;
    Ok(())
}

/// A thread of its own, as hostgauge has one.
fn sample() {
    let roots = Roots::default();
    let interval = Duration::from_secs(1);
    let mut collectors: [Box<dyn Collector>; 3] = [
        Box::new(Cpu::new(&roots)),
        Box::new(Memory::new(&roots)),
        Box::new(Disk::new(&roots, &["/".into()], interval)),
    ];
    let (mut emitter, mut samples) = (Emitter::default(), Vec::new());
    loop {
        samples.clear();
        for collector in &mut collectors {
            if let Err(error) = collector.collect(&mut samples) {
                eprintln!("{}: {error}", collector.name());
            }
        }
        samples.retain(|sample| PUBLISHED.contains(&sample.metric.name));
        emitter.emit(&samples);
        std::thread::sleep(interval);
    }
}
