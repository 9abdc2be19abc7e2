//! The floor probe: the least that an exporter of CPU per core, memory and one file system can cost.
//!
//! One thread around `poll`, three held descriptors, one page buffer. hostgauge's cost is reported as a ratio to this
//! program's in the same run. It is a yardstick, not a product: every request gets the page, each scrape starts min,
//! max and mean anew, a core that went away keeps its last value, and cores that come after the start are not known.
#![warn(clippy::undocumented_unsafe_blocks)]

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    mem::MaybeUninit,
    net::{TcpListener, TcpStream},
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, OpenOptionsExt},
    },
    time::{Duration, Instant},
};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length:        \r\n\r\n";
const LENGTH_WIDTH: usize = 6;
/// The blanks in [`HEAD`] that the length is patched into stand before its two line ends.
const LENGTH_AT: usize = HEAD.len() - 4 - LENGTH_WIDTH;
const MAX_CONNECTIONS: usize = 64;

fn main() {
    if let Err(error) = Flags::parse(std::env::args().skip(1)).and_then(run) {
        eprintln!("floor: {error}");
        std::process::exit(1);
    }
}

struct Flags {
    interval: Duration,
    listen: String,
    path: String,
    /// Read instead of the machine's memory: a control group's files.
    files: Vec<String>,
}

impl Flags {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut flags = Self {
            interval: Duration::from_secs(1),
            listen: "127.0.0.1:9870".into(),
            path: "/".into(),
            files: Vec::new(),
        };
        while let Some(flag) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{flag}: expected a value after it"))?;
            match flag.as_str() {
                "--interval-ms" => {
                    let ms = value.parse().ok().filter(|ms| (1..=3_600_000).contains(ms));
                    flags.interval = ms
                        .map(Duration::from_millis)
                        .ok_or_else(|| format!("--interval-ms {value}: expected 1 to 3600000"))?;
                }
                "--listen" => flags.listen = value,
                "--path" => flags.path = value,
                "--file" => flags.files.push(value),
                _ => {
                    return Err(format!("unknown flag {flag}; known are --interval-ms, --listen, --path, --file"));
                }
            }
        }
        Ok(flags)
    }
}

fn run(flags: Flags) -> Result<(), String> {
    let mut host = Host::open(&flags.path, &flags.files)?;
    let listener = TcpListener::bind(&flags.listen).map_err(|e| format!("--listen {}: {e}", flags.listen))?;
    host.serve(&listener, flags.interval).map_err(|e| format!("sampling: {e}"))
}

/// The figures of the machine and the descriptors they are read through.
struct Host {
    stat: File,
    meminfo: File,
    disk_root: File,
    buffer: Box<[u8; 16 * 1024]>,
    cores: Vec<Core>,
    memory: Gauge,
    disk: Gauge,
    files: Vec<(File, Gauge)>,
}

impl Host {
    fn open(path: &str, files: &[String]) -> Result<Self, String> {
        let at = |path: &'static str| File::open(path).map_err(|e| format!("{path}: {e}"));
        let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = hostname.trim();
        // O_PATH: fstatfs needs no right to read the directory.
        let disk_root = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(path)
            .map_err(|e| format!("--path {path}: {e}"))?;
        let counted = files.iter().map(|path| {
            let file = File::open(path).map_err(|e| format!("--file {path}: {e}"))?;
            Ok((file, Gauge::new("file", &format!("Host=\"{host}\",path=\"{path}\""))))
        });
        let mut probe = Self {
            files: counted.collect::<Result<_, String>>()?,
            stat: at("/proc/stat")?,
            meminfo: at("/proc/meminfo")?,
            disk_root,
            buffer: Box::new([0; _]),
            cores: Vec::new(),
            memory: Gauge::new("memory", &format!("Host=\"{host}\"")),
            disk: Gauge::new("disk", &format!("Host=\"{host}\",path=\"{path}\"")),
        };
        let length = read_start(&probe.stat, &mut probe.buffer[..]).map_err(|e| e.to_string())?;
        probe.cores = cpu_rows(&probe.buffer[..length])
            .map(|(name, time)| {
                let label = String::from_utf8_lossy(name);
                Core { name: name.into(), time, gauge: Gauge::new("cpu", &format!("Host=\"{host}\",cpu=\"{label}\"")) }
            })
            .collect();
        Ok(probe)
    }

    fn sample(&mut self) -> io::Result<()> {
        let length = read_start(&self.stat, &mut self.buffer[..])?;
        // Rows and cores are in one order, so one walk over both finds every row's core.
        let mut cores = self.cores.iter_mut();
        for (name, time) in cpu_rows(&self.buffer[..length]) {
            if let Some(core) = cores.find(|core| *core.name == *name) {
                core.gauge.set(core.time.percent_until(&time));
                core.time = time;
            }
        }
        for (file, gauge) in &mut self.files {
            let length = read_start(file, &mut self.buffer[..])?;
            gauge.set(first_number(&self.buffer[..length]));
        }
        if self.files.is_empty() {
            let length = read_start(&self.meminfo, &mut self.buffer[..])?;
            if let Some(percent) = memory_percent(&self.buffer[..length]) {
                self.memory.set(percent);
            }
        }
        self.disk.set(disk_percent(&self.disk_root)?);
        Ok(())
    }

    fn serve(&mut self, listener: &TcpListener, interval: Duration) -> io::Result<()> {
        let mut page = Vec::with_capacity(64 * 1024);
        let mut connections: Vec<Connection> = Vec::with_capacity(MAX_CONNECTIONS);
        // The listener is entry 0; connection i is entry i + 1.
        let mut polled = Vec::with_capacity(MAX_CONNECTIONS + 1);
        polled.push(readable(listener));
        let mut next = Instant::now() + interval;
        loop {
            if Instant::now() >= next {
                self.sample()?;
                next += interval;
            }
            // poll counts whole milliseconds: rounding down would wake it early and twice.
            let wait = next.saturating_duration_since(Instant::now());
            let ms = wait.as_micros().div_ceil(1000) as libc::c_int;
            // SAFETY: the pointer and the length are those of one live Vec of initialised entries.
            let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, ms) };
            if ready <= 0 {
                continue;
            }
            // Backwards, because swap_remove moves the last entry into the hole.
            for i in (0..connections.len()).rev() {
                if polled[i + 1].revents != 0 && !connections[i].answer(self, &mut page) {
                    connections.swap_remove(i);
                    polled.swap_remove(i + 1);
                }
            }
            if polled[0].revents != 0
                && let Ok((stream, _)) = listener.accept()
                && connections.len() < MAX_CONNECTIONS
            {
                polled.push(readable(&stream));
                connections.push(Connection { stream, request: [0; _], filled: 0 });
            }
        }
    }

    fn render(&mut self, page: &mut Vec<u8>) {
        page.clear();
        page.extend_from_slice(HEAD);
        for core in &mut self.cores {
            core.gauge.render(page);
        }
        self.memory.render(page);
        self.disk.render(page);
        self.files.iter_mut().for_each(|(_, gauge)| gauge.render(page));
        let length = page.len() - HEAD.len();
        // Writing into a slice of this width fails only beyond 999,999 bytes, some 4000 cores.
        let _ = write!(&mut page[LENGTH_AT..LENGTH_AT + LENGTH_WIDTH], "{length:>LENGTH_WIDTH$}");
    }
}

fn readable(socket: &impl AsRawFd) -> libc::pollfd {
    libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 }
}

struct Connection {
    stream: TcpStream,
    request: [u8; 2048],
    filled: usize,
}

impl Connection {
    /// Reads once and answers a complete request; false when the connection is done with.
    fn answer(&mut self, host: &mut Host, page: &mut Vec<u8>) -> bool {
        match self.stream.read(&mut self.request[self.filled..]) {
            Ok(n) if n > 0 => self.filled += n,
            _ => return false,
        }
        if !self.request[..self.filled].ends_with(b"\r\n\r\n") {
            return self.filled < self.request.len();
        }
        self.filled = 0;
        host.render(page);
        // Blocking: the page fits the socket's buffer, and a probe may wait for its only reader.
        self.stream.write_all(page).is_ok()
    }
}

struct Core {
    name: Box<[u8]>,
    time: CpuTime,
    gauge: Gauge,
}

#[derive(Debug, PartialEq)]
struct CpuTime {
    busy: u64,
    total: u64,
}

impl CpuTime {
    fn percent_until(&self, now: &Self) -> f64 {
        // The kernel lets iowait fall, so busy can run backwards by a tick.
        let busy = now.busy.saturating_sub(self.busy);
        let total = now.total.saturating_sub(self.total);
        100.0 * busy as f64 / total.max(1) as f64
    }
}

/// One source's last, min, max and mean since the last scrape.
struct Gauge {
    prefixes: [String; 4],
    last: f64,
    min: f64,
    max: f64,
    sum: f64,
    n: u32,
}

impl Gauge {
    fn new(subject: &str, labels: &str) -> Self {
        let prefix = |stat| format!("floor_{subject}_percent{{{labels},stat=\"{stat}\"}} ");
        Self {
            prefixes: ["last", "min", "max", "avg"].map(prefix),
            // NaN until the first sample: f64::min and f64::max pass over it, and 0 samples have no mean.
            last: f64::NAN,
            min: f64::NAN,
            max: f64::NAN,
            sum: 0.0,
            n: 0,
        }
    }

    fn set(&mut self, value: f64) {
        self.last = value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += value;
        self.n += 1;
    }

    fn render(&mut self, page: &mut Vec<u8>) {
        let mean = self.sum / f64::from(self.n);
        for (prefix, value) in self.prefixes.iter().zip([self.last, self.min, self.max, mean]) {
            page.extend_from_slice(prefix.as_bytes());
            let _ = writeln!(page, "{value:.2}");
        }
        if self.n > 0 {
            (self.min, self.max, self.sum, self.n) = (self.last, self.last, self.last, 1);
        }
    }
}

fn read_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    file.read_at(buffer, 0)
}

/// The leading `cpu` rows of /proc/stat, the sum and each core.
fn cpu_rows(stat: &[u8]) -> impl Iterator<Item = (&[u8], CpuTime)> {
    stat.split(|byte| *byte == b'\n').take_while(|row| row.starts_with(b"cpu")).map(|row| {
        let name = row.split(|byte| *byte == b' ').next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal; the guest fields after them are in user already.
        let mut fields = [0; 8];
        let mut rest = &row[name.len()..];
        for field in &mut fields {
            (*field, rest) = number(rest);
        }
        let total = fields.iter().sum::<u64>();
        let busy = total - fields[3] - fields[4];
        (name, CpuTime { busy, total })
    })
}

/// MemTotal less MemAvailable, of MemTotal.
fn memory_percent(meminfo: &[u8]) -> Option<f64> {
    let mut total = None;
    for row in meminfo.split(|byte| *byte == b'\n') {
        if let Some(rest) = row.strip_prefix(b"MemTotal:") {
            total = Some(number(rest).0);
        } else if let Some(rest) = row.strip_prefix(b"MemAvailable:") {
            let total = total.filter(|total| *total > 0)?;
            return Some(100.0 * total.saturating_sub(number(rest).0) as f64 / total as f64);
        }
    }
    None
}

/// The first number of a file, wherever it stands.
fn first_number(text: &[u8]) -> f64 {
    let from = text.iter().position(u8::is_ascii_digit).unwrap_or(text.len());
    number(&text[from..]).0 as f64
}

/// The next number after blanks (0 if there is none) and what follows it.
fn number(text: &[u8]) -> (u64, &[u8]) {
    let text = text.trim_ascii_start();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value =
        text[..digits].iter().fold(0u64, |value, byte| value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')));
    (value, &text[digits..])
}

/// What df shows: used of what an ordinary user could use.
fn disk_percent(root: &File) -> io::Result<f64> {
    let mut answer = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open as long as `root` lives, and the pointer is to room for one statfs.
    if unsafe { libc::fstatfs(root.as_raw_fd(), answer.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the kernel filled the whole structure.
    let answer = unsafe { answer.assume_init() };
    let used = answer.f_blocks.saturating_sub(answer.f_bfree);
    let usable = used + answer.f_bavail;
    Ok(100.0 * used as f64 / usable.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_rows_count_iowait_as_idle_and_guest_once() {
        let stat = b"cpu  10 1 4 100 20 2 3 5 7 0\ncpu3 1 0 0 9 0 0 0 0 0 0\nintr 5 cpu9\n";
        let rows: Vec<_> = cpu_rows(stat).collect();
        assert_eq!(rows[0], (&b"cpu"[..], CpuTime { busy: 25, total: 145 }));
        assert_eq!(rows[1], (&b"cpu3"[..], CpuTime { busy: 1, total: 10 }));
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn a_busy_counter_that_runs_backwards_is_no_load() {
        let before = CpuTime { busy: 10, total: 20 };
        assert_eq!(before.percent_until(&CpuTime { busy: 9, total: 30 }), 0.0);
        assert_eq!(before.percent_until(&CpuTime { busy: 15, total: 30 }), 50.0);
    }

    #[test]
    fn memory_is_what_is_not_available() {
        let text = b"MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  250 kB\n";
        assert_eq!(memory_percent(text), Some(75.0));
        assert_eq!(memory_percent(b"MemTotal: 1000 kB\n"), None);
    }

    #[test]
    fn the_first_number_is_found_behind_words() {
        assert_eq!(first_number(b"usage_usec 71\nuser_usec 5\n"), 71.0);
        assert_eq!(first_number(b"8:0 rbytes=1\n"), 8.0);
        assert_eq!(first_number(b""), 0.0);
    }

    #[test]
    fn a_gauge_starts_anew_at_the_last_value() {
        let mut gauge = Gauge::new("x", "a=\"b\"");
        let mut page = Vec::new();
        gauge.set(1.0);
        gauge.set(3.0);
        gauge.render(&mut page);
        gauge.set(5.0);
        gauge.render(&mut page);
        let values: Vec<_> =
            std::str::from_utf8(&page).unwrap().lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(values, ["3.00", "1.00", "3.00", "2.00", "5.00", "3.00", "5.00", "4.00"]);
    }

    #[test]
    fn the_page_says_its_own_length() {
        let mut host = Host::open("/", &["/proc/loadavg".into()]).unwrap();
        host.sample().unwrap();
        let mut page = Vec::new();
        host.render(&mut page);
        let page = String::from_utf8(page).unwrap();
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        let length = head.rsplit(' ').next().unwrap();
        assert_eq!(length.parse(), Ok(body.len()));
    }
}
