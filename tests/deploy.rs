//! The files of deploy/, each checked with its own form's tool (`deploy/check.py`), and by the binary: it takes every
//! option that stands in them.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use support::agent::{BINARY, clean, run};

fn check(form: &str) {
    let python = support::file("../target/deploy-tools/bin/python");
    assert!(python.exists(), "{} is missing: tests/run installs it", python.display());
    let script = support::file("deploy/check.py");
    let python = python.to_str().expect("a path of text");
    let ended = run(&mut clean(python, &[script.to_str().expect("a path of text"), form, BINARY]), "");
    assert!(ended.status.success(), "{form}: {}{}", ended.stdout, ended.stderr);
}

#[test]
fn kubernetes_manifests() {
    check("kubernetes");
}

#[test]
fn helm_chart() {
    check("helm");
}

#[test]
fn dockerfiles() {
    check("docker");
}

#[test]
fn iam_policy() {
    check("iam");
}

#[test]
fn ecs_task_definition() {
    check("ecs");
}

#[test]
fn sagemaker_image() {
    check("sagemaker");
}

#[test]
fn systemd_unit() {
    check("systemd");
}

#[test]
fn slurm_scripts() {
    check("slurm");
}
