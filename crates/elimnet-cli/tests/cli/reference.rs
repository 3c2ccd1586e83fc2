//! The generated reference is current.

use std::path::Path;

use crate::scene::Scene;

#[test]
fn docs_cli_md_is_what_the_binary_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let generated = Scene::empty().ok("reference");
    if std::env::var("INSTA_UPDATE").as_deref() == Ok("always") {
        std::fs::write(&path, &generated).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "docs/cli.md is not current: run `just accept` and look at the diff");
}

#[test]
fn every_command_has_help_with_examples() {
    let scene = Scene::empty();
    for command in [
        "info",
        "cuts",
        "scan",
        "eliminate",
        "train",
        "predict",
        "inference",
        "evaluate",
        "bench",
        "compare",
        "report",
        "weights",
    ] {
        let help = scene.ok(&format!("{command} --help"));
        assert!(help.contains("Examples:"), "{command}\n{help}");
        assert!(!help.contains('\u{1b}'), "colours without a terminal: {command}");
    }
}
