//! In a task of ECS or Fargate: its metadata endpoint, version 4.
//!
//! It is asked only if its variable is set, which the platform does, and only where [`TaskEndpoint`] lets that lead.
//!
//! Source: Amazon ECS's developer guide, "Amazon ECS task metadata endpoint version 4".

use hostgauge_collectors::{CollectError, Reason, TaskEndpoint};
use serde_json::Value;

use super::Places;
use super::file;
use super::source::{Figure, Platform, Silence, Source, excerpt};

const VARIABLE: &str = TaskEndpoint::VARIABLE;

/// The task's family is its name; tasks are not counted, but each has an id.
pub(super) fn source(places: &Places<'_>) -> Source {
    Source::variable(Platform::Ecs, VARIABLE, places.variable(VARIABLE), |source, uri| {
        let Some(endpoint) = TaskEndpoint::parse(uri) else {
            return source.malformed(format!("{}, expected {}", excerpt(uri), TaskEndpoint::EXPECTED));
        };
        let task = endpoint.get("/task").map_err(|error| silence(&error));
        match task.and_then(|text| file::parse_json(&text)) {
            Ok(task) => tell(source, &task),
            Err(why) => source.silent(why),
        }
    })
}

fn silence(error: &CollectError) -> Silence {
    match error.reason() {
        Reason::Malformed => Silence::Malformed(error.to_string()),
        _ => Silence::Unreadable(error.to_string()),
    }
}

fn tell(source: Source, task: &Value) -> Source {
    let source = match file::text(task, "Family") {
        Ok(family) => source.claim(Figure::Job, "Family", family),
        Err(why) => return source.silent(why),
    };
    match file::text(task, "TaskARN").map(|arn| arn.rsplit('/').next().unwrap_or(arn)) {
        Ok(id) => source.claim(Figure::Instance, "the id in TaskARN", id),
        Err(why) => source.silent(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::detect::tests::Given;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    /// Serves one client: an answer, or silence until the client has gone.
    fn serve(answer: Option<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read > 0) {
                request.extend(byte);
            }
            match answer {
                Some(answer) if request.starts_with(b"GET /v4/abc/task HTTP/1.0\r\n") => {
                    client.write_all(answer.as_bytes()).expect("written");
                }
                Some(_) => client.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n").expect("written"),
                None => {
                    let _ = client.read(&mut byte);
                }
            }
        });
        format!("http://{address}/v4/abc")
    }

    fn asked(uri: &str) -> Source {
        let given = Given::new("none").variables(&[(VARIABLE, uri)]);
        source(&given.places())
    }

    #[test]
    fn a_task_is_its_family_and_id() {
        let task = r#"{"Cluster": "c", "TaskARN": "arn:aws:ecs:eu-central-1:1:task/c/0123abcd", "Family": "resnet"}"#;
        let source = asked(&serve(Some(format!("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{task}"))));
        assert_eq!((source.answer(Figure::Job), source.answer(Figure::Instance)), (Some("resnet"), Some("0123abcd")));
        assert_eq!(source.silence, None);
    }

    #[test]
    fn what_is_no_answer_is_said() {
        let answers = |answer: &str| asked(&serve(Some(answer.to_owned()))).silence.expect("a reason").to_string();
        assert!(answers("HTTP/1.1 500 No\r\n\r\n{}").contains("status \"500\""));
        assert!(answers("HTTP/1.1 200 OK\r\n\r\n{\"Family\": ").contains("line 1 column"));
        assert!(answers("HTTP/1.1 200 OK\r\n\r\n{}").contains("no Family"));
        assert!(answers("garbage").contains("expected an HTTP response"));
        let silence = asked(&serve(None)).silence.expect("a reason").to_string();
        assert!(silence.contains("no answer within 1s"), "{silence}");
    }
}
