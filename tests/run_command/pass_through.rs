//! What goes in and out: exit codes, bytes, environment, arguments, dispositions of signals.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread;

use crate::both::{children, command, shell_code, under, with};
use crate::support::agent::{BINARY, end_of, run};
use crate::support::load::Killed;
use crate::support::random::Random;
use crate::support::wait::{SOON, wait_until};

#[test]
fn every_exit_code() {
    for code in 0..=255 {
        let status = command(&under(&["sh", "-c", &format!("exit {code}")])).status().expect("it starts");
        assert_eq!(status.code(), Some(code));
    }
}

#[test]
fn killed_by_every_signal() {
    let ends_nothing = ["CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "WINCH"];
    let names = run(Command::new("bash").args(["-c", "kill -l $(seq 1 31) $(seq 34 64)"]), "").stdout;
    let fatal: Vec<&str> = names.lines().filter(|name| !ends_nothing.contains(name)).collect();
    assert!(fatal.len() > 50, "{names}");
    for name in fatal {
        let words = ["bash", "-c", &format!("ulimit -c 0; kill -{name} $$; sleep 9")];
        let bare = command(&words).status().expect("bash");
        let measured = command(&under(&words)).status().expect("hostgauge");
        assert_eq!(measured.code(), Some(shell_code(bare)), "SIG{name}: {bare}");
    }
}

#[test]
fn commands_that_cannot_start_end_as_in_a_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        path.into_os_string().into_string().expect("UTF-8")
    };
    let plain = file("plain", "exit 0", 0o644);
    let lost = file("lost", "#!/no/such/interpreter\n", 0o755);
    let folder = folder.path().to_str().expect("UTF-8");
    for (name, says) in [
        ("no-such-command", "command not found"),
        ("/no/such/file", "no such file"),
        (plain.as_str(), "not executable"),
        (folder, "not executable"),
        (lost.as_str(), "interpreter"),
    ] {
        let bare = run(Command::new("bash").args(["-c", "\"$0\"", name]), "");
        let measured = run(&mut command(&under(&[name])), "");
        assert_eq!(measured.status.code(), bare.status.code(), "{name}: {measured:?}, bare {bare:?}");
        assert!(measured.stderr.contains(says) && measured.stderr.lines().count() == 1, "{measured:?}");
    }
}

/// Ten megabytes of anything come out as they went in, and nothing of ours stands between them.
#[test]
fn bytes_go_through_as_they_are() {
    let mut random = Random(7);
    let sent: Vec<u8> = (0..10 << 20).map(|_| random.next() as u8).collect();
    let mut piped = command(&under(&["cat"]));
    let mut child = Killed(piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts"));
    let mut stdin = child.0.stdin.take().expect("a pipe");
    let expected = sent.clone();
    let writer = thread::spawn(move || stdin.write_all(&sent).expect("cat reads"));
    let mut received = Vec::new();
    child.0.stdout.take().expect("a pipe").read_to_end(&mut received).expect("cat writes");
    writer.join().expect("no panic");
    assert!(received == expected, "{} bytes came back of {}", received.len(), expected.len());
    assert!(end_of(&mut child.0, "the end of cat").success());
}

#[test]
fn much_output_arrives_whole() {
    let words = ["sh", "-c", "timeout 1 yes 0123456789abcdef 2>/dev/null; head -c 20000000 /dev/zero | tr '\\0' x >&2"];
    let mut piped = command(&under(&words));
    let mut child = Killed(piped.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"));
    let mut stderr = child.0.stderr.take().expect("a pipe");
    let errors = thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut bytes = Vec::new();
    child.0.stdout.take().expect("a pipe").read_to_end(&mut bytes).expect("output");
    assert!(bytes.len() > 10_000_000, "{} bytes in a second", bytes.len());
    // timeout(1) may cut the last block anywhere.
    assert!(bytes.chunks_exact(17).all(|line| line == b"0123456789abcdef\n"));
    let errors = errors.join().expect("no panic").expect("errors");
    assert!(errors.len() == 20_000_000 && errors.iter().all(|byte| *byte == b'x'), "{} bytes", errors.len());
    end_of(&mut child.0, "the end of yes");
}

/// Who feeds a program notices at once that it has stopped reading, though hostgauge lives on.
#[test]
fn nothing_holds_a_pipe_open() {
    let reader = under(&["sh", "-c", "exec <&-; sleep 1; echo program ended >&2"]);
    let feeds = ["bash", "-c", "{ yes; echo feeder ended >&2; } | \"$@\"", "bash"];
    let ended = run(&mut command(&[&feeds[..], &reader].concat()), "");
    assert_eq!(ended.stderr, "feeder ended\nprogram ended\n");
    for (launcher, closes) in
        [("exec \"$@\"", "exec 1>&-; sleep 5"), ("exec 7>&1 >/dev/null; exec \"$@\"", "exec 7>&-; sleep 5")]
    {
        let words = [&["bash", "-c", launcher, "bash"][..], &under(&["bash", "-c", closes])].concat();
        let mut child = Killed(command(&words).stdout(Stdio::piped()).spawn().expect("it starts"));
        child.0.stdout.take().expect("a pipe").read_to_end(&mut Vec::new()).expect("its end");
        // The agent may be starting still.
        wait_until(SOON, "the program and the agent, which run on after the pipe's end", || {
            let left = children(child.0.id());
            if left.len() == 2 { Ok(()) } else { Err(format!("{closes}: {left:?}")) }
        });
        end_of(&mut child.0, "the program's end");
    }
}

/// Signals blocked and ignored, environment, arguments, descriptors, folder, limits, priority: all as they were.
#[test]
fn the_program_starts_in_the_same_state() {
    let looks = "cat /proc/$$/environ /proc/$$/cmdline | tr '\\0' '\\n'; umask; readlink /proc/$$/cwd; ls /proc/$$/fd; \
                 grep -E 'Cap|NoNewPrivs' /proc/$$/status; cat /proc/$$/limits; cut -d' ' -f5-8,18,19 /proc/$$/stat";
    for launcher in [
        &["env"][..],
        &["nohup"],
        &["env", "--ignore-signal=PIPE", "--ignore-signal=HUP,INT,USR2", "--block-signal=TERM,USR1"],
        &["env", "-i", "PATH=/usr/bin:/bin", "A=b c\nd", "E=", "UTF=\u{fc}"],
        &["bash", "-c", "exec 0<&-; exec 5</etc/passwd; ulimit -n 99; umask 077; cd /usr; exec \"$@\"", "bash"],
        &["bash", "-c", "exec 2>&-; exec \"$@\"", "bash"],
        &["nice", "-n", "3"],
    ] {
        // A name that is not UTF-8, an empty one, one with dashes.
        let arguments = [&b"\xff"[..], b"", b"--interval", b"--", b"-x"].map(OsStr::from_bytes);
        let state = |words: &[&str], arguments: &[&OsStr]| {
            let mut command = command(&[launcher, words].concat());
            command.args(arguments).process_group(0);
            let output = command.stderr(Stdio::null()).output().expect("it starts");
            assert!(output.status.success(), "{launcher:?}: {output:?}");
            tidy(&String::from_utf8_lossy(&output.stdout))
        };
        let words = ["sh", "-c", looks];
        assert_eq!(state(&under(&words), &arguments), state(&words, &arguments), "{launcher:?}");
        // A shell changes the masks of signals, so something simpler looks at those.
        let words = ["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"];
        assert_eq!(state(&under(&words), &[]), state(&words, &[]), "{launcher:?}");
    }
}

/// Leaves out what two runs of the same program differ in.
fn tidy(state: &str) -> String {
    let line = |line: &str| match line.strip_prefix("SigIgn:\t").and_then(|mask| u64::from_str_radix(mask, 16).ok()) {
        // glibc's own two signals: its posix_spawn ignores them in whatever it starts.
        Some(mask) => format!("ignored {:x}", mask & !(3 << 31)),
        // The process group and session, as numbers.
        None if line.split(' ').count() == 6 => line.split(' ').skip(2).collect::<Vec<_>>().join(" "),
        // The program that a shell started, which is hostgauge or not.
        None if line.starts_with("_=") => "_".to_owned(),
        None => line.to_owned(),
    };
    state.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Not a word of ours, unless something is wrong or somebody asked.
#[test]
fn nothing_of_ours_is_printed() {
    let ended = run(&mut command(&under(&["sh", "-c", "sleep 1.2; echo out; echo err >&2"])), "");
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", "err\n"));
    let ended = run(command(&under(&["true"])).env("RUST_LOG", "info"), "");
    assert!(ended.stdout.is_empty() && ended.stderr.lines().count() < 9, "{ended:?}");
}

/// SageMaker appends `train` or `serve` to the entry point; it can also be the program itself.
#[test]
fn an_argument_of_sagemaker_reaches_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let train = folder.path().join("train");
    std::fs::write(&train, "#!/bin/sh\necho \"training $*\"\nexit 3\n").expect("written");
    std::fs::set_permissions(&train, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("PATH"));
    let ended = run(command(&with(&[], &["train"])).env("PATH", &path), "");
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(3), "training \n"), "{ended:?}");
    let mut entry = command(&[BINARY, "run", "--", train.to_str().expect("UTF-8")]);
    let ended = run(entry.env("HOSTGAUGE_PROMETHEUS_LISTEN", "127.0.0.1:0").arg("train"), "");
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(3), "training train\n"), "{ended:?}");
}
