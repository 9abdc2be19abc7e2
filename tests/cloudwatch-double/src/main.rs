//! The double as a program: its address in the first line, then each accepted request as a line of JSON.

use std::error::Error;
use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;
use std::time::Duration;

use hostgauge_cloudwatch_double::{Double, Fault, Mix, Options};

const USAGE: &str = "\
A strict double of CloudWatch's PutMetricData on loopback.

cloudwatch-double [--listen 127.0.0.1:0] [--fault NAME[:COUNT],…] [--random SEED:PERCENT:NAME,…]

--fault   what the first requests meet, in this order
--random  what that share of the others meets
NAME      throttle, internal, unavailable, too-large, expired-token, reset-before-body, reset-after-storing, hang,
          hang-after-storing, drip, date-off

GET /dump and GET /statistics?namespace=…&name=…[&dimension=NAME%3DVALUE]…[&period=60][&from=…][&to=…] (seconds since
1970) show what it stored.
";

#[derive(Default)]
struct Arguments {
    options: Options,
    script: Vec<Fault>,
    mix: Option<Mix>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| ["-h", "--help"].contains(&argument.as_str())) {
        let _ = stdout().write_all(USAGE.as_bytes());
        return ExitCode::SUCCESS;
    }
    let error = match parse(&arguments) {
        Ok(arguments) => match run(arguments) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => error.to_string(),
        },
        Err(error) => format!("{error}\n\n{USAGE}"),
    };
    let _ = writeln!(stderr(), "cloudwatch-double: {error}");
    ExitCode::FAILURE
}

fn parse(arguments: &[String]) -> Result<Arguments, Box<dyn Error>> {
    let mut parsed = Arguments::default();
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--listen" => parsed.options.listen = value.parse()?,
            "--fault" => {
                for fault in value.split(',') {
                    let (name, count) = fault.split_once(':').unwrap_or((fault, "1"));
                    parsed.script.extend(vec![name.parse::<Fault>()?; count.parse()?]);
                }
            }
            "--random" => {
                let [seed, percent, names] = value.splitn(3, ':').collect::<Vec<_>>()[..] else {
                    return Err(format!("{value}: not SEED:PERCENT:NAME,…").into());
                };
                let faults = names.split(',').map(str::parse).collect::<Result<_, _>>()?;
                parsed.mix = Some(Mix { seed: seed.parse()?, share: percent.parse::<f64>()? / 100.0, faults });
            }
            _ => return Err(format!("unknown option {flag}").into()),
        }
    }
    Ok(parsed)
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let double = Double::start(arguments.options)?;
    double.script(arguments.script);
    double.mix(arguments.mix);
    writeln!(stdout(), "{}", double.url())?;
    let mut seen = 0;
    // Until it is killed, or nobody reads it any more.
    loop {
        let requests = double.requests_after(seen, Duration::from_secs(3_600));
        seen += requests.len();
        for request in requests.iter().filter(|request| request.stored) {
            writeln!(stdout(), "{}", request.json())?;
        }
    }
}
