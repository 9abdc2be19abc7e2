//! Heap allocations are deterministic, so they are gated: none for a sample, of a machine or a container, with GPUs or
//! without, ten at most for a scrape (the HTTP library's own).
#![allow(unsafe_code)] // a counting allocator cannot be written without
#![allow(clippy::expect_used, reason = "a helper of a test fails as the test does")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use hostgauge::{Builder, Hostgauge, Roots, Scope};

#[path = "support/counting.rs"]
mod counting;

/// Whether the sampler has made its first ticks: every series has its handle, every buffer its size.
fn settle(hostgauge: &Hostgauge) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !hostgauge.page().contains("hostgauge_disk_utilization_percent{") {
        assert!(std::time::Instant::now() < deadline, "waited 20 s for a disk sample");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(500));
}

/// A /proc and a /sys with one cgroup of version 2, in which this process is.
fn cgroup() -> tempfile::TempDir {
    let tree = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    for name in ["stat", "meminfo"] {
        let fixture = format!("{}/../tests/fixtures/proc/two-cores/{name}", env!("CARGO_MANIFEST_DIR"));
        write(&format!("proc/{name}"), &std::fs::read_to_string(fixture).expect("a fixture"));
    }
    write("proc/self/mountinfo", "9 1 0:9 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    write("proc/self/cgroup", "0::/job\n");
    write("sys/devices/system/cpu/online", "0-1\n");
    for (name, text) in [
        ("cpu.stat", "usage_usec 7\nnr_periods 1\nnr_throttled 1\nthrottled_usec 1\n"),
        ("cpu.max", "50000 100000\n"),
        ("cpuset.cpus.effective", "0-1\n"),
        ("memory.current", "900\n"),
        ("memory.stat", "anon 500\ninactive_file 300\n"),
        ("memory.events", "oom_kill 0\n"),
        ("memory.max", "2000\n"),
        ("io.stat", "8:0 rbytes=1 wbytes=2\n"),
        ("cpu.pressure", "some avg10=0.00 total=3\nfull avg10=0.00 total=0\n"),
    ] {
        write(&format!("sys/fs/cgroup/job/{name}"), text);
    }
    tree
}

// One test, since both count what the whole process allocates.
#[test]
fn a_sample_allocates_nothing_and_a_scrape_little() {
    let interval = Duration::from_millis(100);
    let listen = "127.0.0.1:0".parse().expect("an address");
    let (_recorder, hostgauge) = Builder::new().interval(interval).listen(listen).build().expect("it starts");
    settle(&hostgauge);
    let per_ten_ticks = counting::fewest(3, || std::thread::sleep(10 * interval));
    println!("allocations in ten ticks: {per_ten_ticks}");
    assert_eq!(per_ten_ticks, 0);
    drop(hostgauge);

    let container = cgroup();
    let roots =
        Roots { procfs: container.path().join("proc"), sysfs: container.path().join("sys"), rootfs: "/".into() };
    let scoped = Builder::new().interval(interval).roots(roots).scope(Scope::Container);
    let (_recorder, hostgauge) = scoped.build().expect("it starts");
    settle(&hostgauge);
    assert!(hostgauge.page().contains("hostgauge_pressure_stalled_seconds_total{"), "{}", hostgauge.page());
    let per_ten_ticks = counting::fewest(3, || std::thread::sleep(10 * interval));
    println!("allocations in ten ticks of a container: {per_ten_ticks}");
    assert_eq!(per_ten_ticks, 0);
    drop(hostgauge);

    // The double's own allocations are not counted: it is a library of its own. It plays its demonstration: three GPUs,
    // one of them in MIG mode. Ticks are further apart than its samples: else the source of a utilization, a label,
    // would change from tick to tick.
    let interval = Duration::from_millis(500);
    let library = nvidia_ml_double::library().expect("the double is built with the tests");
    let gpus = Builder::new().interval(interval).nvml_library(library);
    let (_recorder, hostgauge) = gpus.build().expect("it starts");
    settle(&hostgauge);
    assert!(hostgauge.page().contains("hostgauge_gpu_utilization_percent{"), "{}", hostgauge.page());
    // Until the rings have reached their size and the GPM samples have turns.
    std::thread::sleep(Duration::from_secs(1));
    let per_five_ticks = counting::fewest(3, || std::thread::sleep(5 * interval));
    println!("allocations in five ticks with GPUs: {per_five_ticks}");
    assert_eq!(per_five_ticks, 0);
    drop(hostgauge);

    let slow = Duration::from_secs(60);
    let (_recorder, hostgauge) = Builder::new().interval(slow).listen(listen).build().expect("it starts");
    let mut client = TcpStream::connect(hostgauge.address().expect("it listens")).expect("connected");
    let mut answer = vec![0; 64 * 1024];
    let mut scrape = |request: &[u8]| {
        client.write_all(request).expect("sent");
        let mut filled = 0;
        loop {
            filled += client.read(&mut answer[filled..]).expect("an answer");
            if let Some(head) = answer[..filled].windows(4).position(|four| four == b"\r\n\r\n") {
                let text = std::str::from_utf8(&answer[..head]).expect("a head");
                let length =
                    text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).expect("a length");
                if filled >= head + 4 + length.parse::<usize>().expect("a number") {
                    break;
                }
            }
        }
    };
    for encoding in ["identity", "gzip"] {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {encoding}\r\n\r\n").into_bytes();
        scrape(&request);
        // The client allocates nothing; what is counted is the server's.
        let per_hundred = counting::fewest(20, || (0..100).for_each(|_| scrape(&request)));
        println!("allocations per scrape, {encoding}: {}", per_hundred as f64 / 100.0);
        assert!(per_hundred <= 1000, "{encoding}: {per_hundred} allocations in 100 scrapes");
    }
}
