//! On a machine of its own, whose kernel the tests may set up as they like: cores unplugged, control groups of
//! version 2 alone. Emulated by QEMU, so that it wants no hardware.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::fs;
use std::time::Duration;

use support::Page;
use support::compared::Compared;
use support::container::Container;
use support::guest::{Guest, Said};
use support::siblings::{MATRIX, ONCE};

/// An emulated machine on a busy one takes its time; it never needs so much unless something hangs.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn cores_keep_their_names_when_one_is_unplugged() {
    let said = Guest::new(4).run(
        r#"
        hostgauge >/dev/null 2>&1 &
        until_page 'core="3"'
        echo 0 > /sys/devices/system/cpu/cpu1/online
        taskset 8 sh -c 'while :; do :; done' &
        sleep 4
        scrape without
        echo 1 > /sys/devices/system/cpu/cpu1/online
        sleep 4
        scrape with
        "#,
        PATIENCE,
    );
    let without = said.page("without");
    let cores = |page: &Page| page.cores().into_iter().map(|(core, _)| core).collect::<Vec<_>>();
    assert_eq!(cores(&without), ["0", "2", "3"]);
    let busy = without.value("hostgauge_cpu_core_utilization_percent", &[("core", "3")]);
    assert!(busy > 80.0, "the loop runs on core 3: {:?}", without.cores());
    assert_eq!(without.value("hostgauge_cpu_cores", &[]), 3.0);
    let with = said.page("with");
    assert_eq!(cores(&with), ["0", "1", "2", "3"]);
    assert!(with.value("hostgauge_cpu_core_utilization_percent", &[("core", "1")]) <= 100.0);
}

const CPU: &str = "hostgauge_cpu_utilization_percent";
const SECONDS: u32 = 10;

/// Takes readings of several groups at once, ten seconds long: `measure GROUP=PORT...`. The kernel's own counter at
/// both ends, and the page of every second in between.
const MEASURE: &str = r#"
# The shell speaks of every load that is killed.
exec 2>/tmp/errors
spin() { into $1 sh -c 'while :; do :; done'; }
agent() { port=$1; shift; "$@" --prometheus-listen 127.0.0.1:$port >/tmp/$port.log 2>&1 & }
of_kernel() { read key micros < /sys/fs/cgroup/$1/cpu.stat; read up rest < /proc/uptime; echo "$up $micros"; }
of_kernels() { moment=$1; shift; for pair in "$@"; do say "${pair%=*} $moment"; of_kernel ${pair%=*}; done; }
# A tick, between two looks at every group's counter.
tick_between() { when=$1; shift; on_tick ${1#*=} of_kernels "earliest $when" "$@"; echo "$earlier"; of_kernels $when "$@"; }
# What is looked at: the console is slow.
page() { scrape "$1" $2 | grep -E '^(==|hostgauge_(cpu|memory|scope|process_cpu_seconds|pressure|io|disk|collector_success))' | grep -v _window_; }
pages() { second=$1; shift; for pair in "$@"; do page "${pair%=*} $second" ${pair#*=}; done; }
measure() {
  for pair in "$@"; do until_page hostgauge_cpu_utilization_percent ${pair#*=}; done
  # The kernel's counters as the agent ticks, the page when it shows that tick.
  tick_between before "$@"; pages 0 "$@"
  for second in 1 2 3 4 5 6 7 8 9; do
    $MIDDLE $second
    # An agent that is throttled may come late to its tick.
    at $((second * 100 + 70)); pages $second "$@"
  done
  at 980; tick_between after "$@"; pages 10 "$@"
}
MIDDLE=true
"#;

/// Seconds since boot, and the microseconds of a group by then.
fn kernel(said: &Said, group: &str, when: &str) -> (f64, f64) {
    let text = said.section(&format!("{group} {when}"));
    let mut numbers = text.split_whitespace().map(|word| word.parse::<f64>().expect("a number"));
    (numbers.next().expect("seconds"), numbers.next().expect("microseconds"))
}

/// A group's CPU over the same ten seconds; and how far the samples are apart.
fn compared(said: &Said, group: &str) -> (Compared, f64) {
    let at = |when| kernel(said, group, when);
    let [earliest_before, before] = ["earliest before", "before"].map(at);
    let [earliest_after, after] = ["earliest after", "after"].map(at);
    let percent = |micros: f64| micros / 1e4 / (after.0 - before.0);
    let page = |second: u32| said.page(&format!("{group} {second}"));
    let counter = |second| page(second).value("hostgauge_cpu_seconds_total", &[]);
    let mut pages: Vec<Page> = (1..=SECONDS).map(page).collect();
    // A tick that came late is seen twice.
    pages.dedup_by_key(|page| page.tick());
    assert!(pages.len() as u32 >= SECONDS / 2, "{group}: {} ticks in {SECONDS} s", pages.len());
    let samples = pages.iter().map(|page| page.value(CPU, &[]));
    let (least, most) = samples.clone().fold((f64::MAX, f64::MIN), |(l, m), value| (l.min(value), m.max(value)));
    let compared = Compared {
        kernel: percent(after.1 - before.1),
        agent: samples.sum::<f64>() / pages.len() as f64,
        grown: percent(1e6 * (counter(SECONDS) - counter(0))),
        range: percent(earliest_after.1 - before.1)..=percent(after.1 - earliest_before.1),
    };
    (compared, most - least)
}

#[test]
fn on_version_2_the_figures_are_the_kernels() {
    let guest = Guest::new(4);
    // That of busybox knows no cgroup namespaces.
    guest.root.program("/usr/bin/unshare", "usr/bin/unshare");
    let script = r#"
    unified
    group ten 'cpu.max=10000 100000'; spin ten
    group half 'cpu.max=50000 100000' memory.max=268435456; spin half
    group outer 'cpu.max=40000 100000' memory.max=134217728 'cgroup.subtree_control=+cpu +memory'
    group outer/inner; spin outer/inner
    agent 9001 hostgauge --scope cgroup:/ten
    agent 9003 hostgauge --scope cgroup:/outer/inner
    # As an engine starts a container: in its group, then a cgroup namespace and the mount that shows it.
    agent 9002 sh -c 'echo 0 > /sys/fs/cgroup/half/cgroup.procs; exec /usr/bin/unshare -C -m sh -c "
      umount /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec hostgauge --scope container $*"' sh
    measure ten=9001 half=9002 outer/inner=9003
    say half-cpu.stat; cat /sys/fs/cgroup/half/cpu.stat
    say half-pressure; grep some /sys/fs/cgroup/half/cpu.pressure
    killall sh hostgauge; sleep 0.5

    group one-and-a-half 'cpu.max=150000 100000'; spin one-and-a-half; spin one-and-a-half
    agent 9001 hostgauge --scope cgroup:/one-and-a-half
    measure one-and-a-half=9001
    killall sh hostgauge; sleep 0.5

    group set cpuset.cpus=2-3; spin set; spin set
    unplug() { case $1 in 3) echo 0;; 7) echo 1;; *) return;; esac > /sys/devices/system/cpu/cpu3/online; }
    MIDDLE=unplug
    agent 9001 hostgauge --scope cgroup:/set
    measure set=9001
    killall sh hostgauge; sleep 0.5

    group cache memory.max=67108864
    # The cache of a device goes with the last who has it open.
    into cache sh -c 'exec 3</dev/nvme0n1; dd of=/dev/null bs=1M count=40 <&3; touch /tmp/read; exec sleep 1000'
    group small memory.max=16777216
    group again; spin again; spinner=$!
    agent 9001 hostgauge --scope cgroup:/cache
    agent 9002 hostgauge --scope cgroup:/small
    agent 9003 hostgauge --scope cgroup:/again
    until_page hostgauge_memory_oom_kills_total 9002; until_page hostgauge_cpu_utilization_percent 9003
    into small dd if=/dev/zero of=/dev/null bs=64M count=1
    wait $!; until [ -e /tmp/read ]; do usleep 10000; done
    stop() { kill -9 $spinner; until rmdir /sys/fs/cgroup/again; do usleep 1000; done 2>/dev/null; }

    # Between two ticks, however long that takes to come about.
    restart() {
      on_tick 9003; page running 9003 > /tmp/running
      stop; group again; spin again; spinner=$!
      now; took=$((now - start))
    }
    restart; while [ $took -gt 80 ]; do sleep 2; restart; done
    cat /tmp/running
    at 120; page restarted 9003
    at 220; page second 9003
    # The tick that is being made may have read it still.
    stop; on_tick 9003; on_tick 9003; page gone 9003

    page cache 9001; say cache-charged; cat /sys/fs/cgroup/cache/memory.current
    say cache-inactive; grep ^inactive_file /sys/fs/cgroup/cache/memory.stat | cut -d ' ' -f 2
    page small 9002; say small-kills; grep '^oom_kill ' /sys/fs/cgroup/small/memory.events | cut -d ' ' -f 2
    "#;
    let said = guest.run(&format!("{MEASURE}{script}"), PATIENCE);

    println!("| load on pure cgroup v2 | {} |\n| --- | ---: | ---: | ---: | ---: | ---: |", Compared::COLUMNS);
    for (group, load) in [
        ("ten", "quota of 10 %, one loop"),
        ("half", "quota of 50 %, one loop; from inside, private cgroup namespace"),
        ("outer/inner", "quota of 40 % on the parent, the loop in the child"),
        ("one-and-a-half", "quota of 150 %, two loops"),
        ("set", "cpuset of two cores, two loops; a core unplugged for 4 s"),
    ] {
        let (cpu, spread) = compared(&said, group);
        println!("| {load} | {cpu} |");
        assert!(cpu.kernel > 5.0, "{group}: the load did not load: {cpu}");
        // Only under a steady load do a missed page and a late look at the kernel's counter leave the mean what it is;
        // then it is within one point of a core over ten seconds.
        cpu.assert_within(if spread > 10.0 { f64::INFINITY } else { 1.0 });
    }
    for row in said.section("half-cpu.stat").lines() {
        let (name, kernel) = row.split_once(' ').unwrap_or_default();
        let (metric, unit, slack) = match name {
            "nr_periods" => ("periods", 1.0, 15.0),
            "nr_throttled" => ("throttled_periods", 1.0, 15.0),
            "throttled_usec" => ("throttled_seconds", 1e-6, 1.0),
            _ => continue,
        };
        let kernel = unit * kernel.parse::<f64>().expect("a number");
        let agent = said.page("half 10").value(&format!("hostgauge_cpu_{metric}_total"), &[]);
        assert!(agent > 0.0 && (0.0..=slack).contains(&(kernel - agent)), "{metric}: {agent}, the kernel's {kernel}");
    }
    stalls_limits_and_memory(&said);
    a_restart_is_seen_within_a_tick(&said);
}

fn stalls_limits_and_memory(said: &Said) {
    let stalled = said
        .page("half 10")
        .value("hostgauge_pressure_stalled_seconds_total", &[("resource", "cpu"), ("extent", "some")]);
    let kernel = said.section("half-pressure").trim().rsplit_once("total=").expect("a total").1;
    let kernel = kernel.parse::<f64>().expect("microseconds") / 1e6;
    // The script reads the kernel's a little later than the agent did.
    assert!(stalled > 1.0 && (0.0..=2.0).contains(&(kernel - stalled)), "{stalled}, the kernel's {kernel}");
    for (group, cores, memory) in [
        ("ten", 0.1, None),
        ("half", 0.5, Some(268_435_456.0)),
        // Both are the parent's.
        ("outer/inner", 0.4, Some(134_217_728.0)),
        ("one-and-a-half", 1.5, None),
        ("set", 2.0, None),
    ] {
        let page = said.page(&format!("{group} 1"));
        assert_eq!(page.value("hostgauge_cpu_limit_cores", &[]), cores, "{group}");
        let limit = page.value("hostgauge_memory_limit_bytes", &[]);
        assert!(memory.map_or(limit > 5e8, |memory| limit == memory), "{group}: {limit}");
    }
    for (index, most) in [(1, 210.0), (6, 105.0)] {
        let read = said.page(&format!("set {index}")).value(CPU, &[]);
        assert!(read <= most, "second {index}: {read}");
    }

    let page = said.page("cache");
    let [used, charged, read] = [
        page.value("hostgauge_memory_used_bytes", &[]),
        page.value("hostgauge_memory_charged_bytes", &[]),
        page.value("hostgauge_io_bytes_total", &[("direction", "read")]),
    ];
    let working_set = said.number("cache-charged") - said.number("cache-inactive");
    assert!(charged > 40e6 && used < 5e6 && (used - working_set).abs() < 1e6, "{used} of {charged}");
    assert!(read >= 40.0 * f64::from(1 << 20), "{read} bytes read");
    let kills = said.page("small").value("hostgauge_memory_oom_kills_total", &[]);
    assert!(kills >= 1.0 && kills == said.number("small-kills"), "{kills}: {:?}", said.section("small-kills"));
}

fn a_restart_is_seen_within_a_tick(said: &Said) {
    let [running, restarted, second, gone] = ["running", "restarted", "second", "gone"].map(|name| said.page(name));
    let seconds = |page: &Page| page.value("hostgauge_cpu_seconds_total", &[]);
    let used = |page: &Page| page.get("hostgauge_memory_used_bytes", &[]);
    assert!(running.value(CPU, &[]) > 10.0);
    assert_eq!(restarted.get(CPU, &[]), None, "no base yet");
    assert!(used(&restarted).is_some(), "the new group's memory: {}", restarted.text);
    assert!((10.0..=105.0).contains(&second.value(CPU, &[])), "no spike: {}", second.text);
    assert!(
        seconds(&running) <= seconds(&restarted) && seconds(&restarted) < seconds(&second),
        "a counter never falls"
    );
    assert_eq!((gone.get(CPU, &[]), used(&gone)), (None, None), "nothing stale");
}

#[test]
fn on_version_2_who_may_read_a_sibling() {
    let guest = Guest::new(2);
    guest.root.program("/usr/sbin/runc", "bin/runc");
    fs::create_dir(guest.root.path("root")).expect("a folder");
    for (index, row) in MATRIX.iter().enumerate() {
        row.algorithm(&guest.root).into_guest(&guest.root, &format!("algorithm{index}"));
        let command = [&["hostgauge"], &ONCE[..], &["--scope", "pod", "--gpus", "none"]].concat();
        let sidecar = Container::new("sidecar", &guest.root, &command).user(row.sidecar.0, row.sidecar.1);
        sidecar.among("/run/other").into_guest(&guest.root, &format!("sidecar{index}"));
    }
    let script = format!(
        r#"
        unified
        mount --bind / /root
        for i in $(seq 0 {last}); do
          runc run --no-pivot --detach --pid-file /run/pid --bundle /bundles/algorithm$i algorithm$i >/dev/null 2>&1
          ln -sf /proc/$(cat /run/pid)/ns/pid /run/other
          say "page $i"; runc run --no-pivot --bundle /bundles/sidecar$i sidecar$i 2>/tmp/log
          say "log $i"; cat /tmp/log
          runc delete --force algorithm$i
        done
        "#,
        last = MATRIX.len() - 1
    );
    let said = guest.run(&script, PATIENCE);
    println!("| algorithm, on pure cgroup v2 | sidecar | read |\n| --- | --- | --- |");
    for (index, row) in MATRIX.iter().enumerate() {
        row.judge(said.section(&format!("page {index}")).trim(), said.section(&format!("log {index}")));
        println!("{row}");
    }
}

/// How often a core goes or comes back.
const FLAPS: u32 = 20;

#[test]
fn a_suspend_and_cores_that_flap_leave_nothing_false_behind() {
    let script = r#"
        hostgauge --interval 200ms --prometheus-listen 127.0.0.1:9871 >/dev/null 2>/tmp/log &
        until_page hostgauge_cpu_utilization_percent
        for step in $(seq 1 @FLAPS@); do
          core=/sys/devices/system/cpu/cpu$((step * 7 % 3 + 1))/online
          read online < $core; echo $((1 - online)) > $core
          usleep $((step * 37 % 400))000
          echo; scrape "flap $step" | grep -E '^(==|hostgauge_cpu_(cores|core_utilization|utilization_percent))'
        done
        for core in 1 2 3; do echo 1 > /sys/devices/system/cpu/cpu$core/online 2>/dev/null; done
        on_tick 9871; on_tick 9871; scrape before
        echo 0 > /sys/class/rtc/rtc0/wakealarm; echo +8 > /sys/class/rtc/rtc0/wakealarm
        read start rest < /proc/uptime; echo mem > /sys/power/state; read end rest < /proc/uptime
        say slept; echo $((${end%.*} - ${start%.*}))
        on_tick 9871; on_tick 9871; scrape after
        say log; cat /tmp/log
        "#;
    let said = Guest::new(4).run(&script.replace("@FLAPS@", &FLAPS.to_string()), PATIENCE);
    let mut numbers = std::collections::BTreeSet::new();
    let mut check = |page: &Page| {
        let cores = page.cores();
        numbers.insert(cores.len());
        assert!(cores.iter().all(|(_, percent)| *percent <= 100.0), "{cores:?}");
        // A core that came back has no percent before its second reading, and then there is no sum.
        let Some(sum) = page.sum() else { return };
        assert_eq!(cores.len() as f64, page.value("hostgauge_cpu_cores", &[]), "the sum of some: {}", page.text);
        let of_cores: f64 = cores.iter().map(|(_, percent)| percent).sum();
        assert!((sum - of_cores).abs() < 1e-4, "{sum}, of {cores:?}");
    };
    (1..=FLAPS).for_each(|step| check(&said.page(&format!("flap {step}"))));
    let [before, after] = ["before", "after"].map(|name| said.page(name));
    [&before, &after].into_iter().for_each(&mut check);
    assert!(numbers.len() > 1, "cores came and went: {numbers:?}");
    assert!(said.number("slept") >= 5.0, "it slept: {said:#?}");
    let disturbed = |page: &Page, kind| page.value("hostgauge_disturbances_total", &[("kind", kind)]);
    assert!(disturbed(&after, "stall") > disturbed(&before, "stall"), "{}", said.section("log"));
    assert_eq!(disturbed(&after, "clock"), disturbed(&before, "clock"), "nobody set it: {}", said.section("log"));
    for page in [&before, &after] {
        assert_eq!(page.cores().len(), 4, "{}", page.text);
        assert!(page.sum().is_some() && page.all("hostgauge_collector_success").all(|it| it.value == 1.0));
    }
}
