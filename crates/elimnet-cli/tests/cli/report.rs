//! The page about a run: written by a training, looked at by a real browser.

use serde_json::{Value, json};

use crate::chromium::Tab;
use crate::scene::{RECIPE, Scene, stable};

/// Headings, tables and charts of a page, without its numbers.
fn outline(page: &str) -> String {
    let body = page.split_once("<body>").expect("a body").1;
    let body = body.split_once("<script>").expect("our script").0;
    let mut outline = String::new();
    for part in body.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("a tag");
        let name = tag.split_whitespace().next().unwrap_or_default();
        let indent = match name {
            "h1" | "section" | "footer" => "",
            "h2" | "h3" | "table" | "svg" | "dl" | "pre" => "  ",
            "caption" | "th" | "dt" | "title" | "button" => "    ",
            _ => continue,
        };
        let label = if name == "section" { tag.split('"').nth(1).unwrap_or_default() } else { text.trim() };
        let is_point = name == "title" && (label.starts_with("epoch ") || label.contains(": F1 "));
        let is_decoration = name == "svg" && !tag.contains("chart");
        if !is_point && !is_decoration {
            outline += &format!("{indent}{name} {label}\n");
        }
    }
    outline
}

#[test]
fn a_training_writes_its_page() {
    let scene = Scene::new();
    scene.train("--name seen");
    let page = scene.read("exp/latest/report.html");
    stable(&scene).bind(|| insta::assert_snapshot!("report_of_a_run", outline(&page)));
    assert!(page.contains("default-src &#39;none&#39;; style-src &#39;sha256-"), "a policy");
    for word in ["http:", "https:", " style=", "@import", "url(", " onload", "<link", "<iframe"] {
        assert!(!page.contains(word), "{word}");
    }
    let command = format!("elimnet train --model tiny.yaml --data photos {RECIPE} --name seen");
    assert!(page.contains(&command), "the command to get it again");
}

#[test]
fn several_runs_are_joined() {
    let scene = Scene::new();
    let first = scene.train("--name first");
    let second = scene.train("--name second --epochs 3");
    scene.ok("inference --model-dir exp/latest --img-root photos/test");
    let runs = format!("{} {} exp/latest", first.display(), second.display());
    assert_eq!(scene.ok(&format!("report {runs}")), "report.html\n");
    let page = scene.read("report.html");
    stable(&scene).bind(|| insta::assert_snapshot!("report_of_two_runs", outline(&page)));
    assert!(page.contains("2 runs side by side"), "exp/latest is one of the two");

    let own = scene.ok("report exp/latest");
    assert_eq!(std::path::Path::new(own.trim_end()), second.join("report.html"));
    assert!(
        scene.read("exp/latest/report.html").contains("at once"),
        "with the time that was measured since"
    );
    std::fs::remove_file(second.join("summary.json")).expect("removed");
    assert!(scene.run("report exp/latest").stderr.contains("elimnet train --resume"));
}

#[test]
fn a_page_that_cannot_be_written_loses_nothing() {
    let scene = Scene::new();
    let run = scene.train("");
    let summary = scene.read("exp/latest/summary.json");
    for file in ["summary.json", "report.html"] {
        std::fs::remove_file(run.join(file)).expect("removed");
    }
    scene.write("exp/latest/report.html/in_the_way", "");
    let outcome = scene.run("train --resume exp/latest");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("warning   there is no report: "), "{}", outcome.stderr);
    let test = |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["test"].clone();
    assert_eq!(test(&scene.read("exp/latest/summary.json")), test(&summary));
}

#[test]
fn tensorboard_writes_events_where_it_is_asked_for() {
    let scene = Scene::new();
    let events = |scene: &Scene| {
        let files = scene.entries("exp/latest");
        files.into_iter().filter(|name| name.starts_with("events.out.tfevents.")).count()
    };
    scene.train("");
    assert_eq!(events(&scene), 0);
    let run = scene.train("--tensorboard");
    assert_eq!(events(&scene), 1);
    std::fs::remove_file(run.join("summary.json")).expect("removed");
    scene.ok("train --resume exp/latest --tensorboard");
    assert_eq!(events(&scene), 2, "a resumed run appends a file");
}

/// Opens a page and checks that it neither complains nor asks for anything.
fn shown(tab: &mut Tab, scene: &Scene, name: &str, width: u32) {
    let file = std::fs::canonicalize(scene.path(name)).expect("a page");
    tab.show(&file, width, 900);
    assert!(tab.complaints().is_empty(), "{:?}", tab.complaints());
    let page = format!("file://{}", file.display());
    let foreign: Vec<&str> = tab
        .requests()
        .into_iter()
        .filter(|url| *url != page && !url.starts_with("data:image/jpeg"))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    let overflow =
        tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(overflow, 0, "the page scrolls sideways at {width} pixels");
}

/// Texts of the cells of a column.
fn column(tab: &mut Tab, table: &str, column: usize) -> Vec<String> {
    let script = format!(
        "[...document.querySelectorAll('{table} tbody tr')].map(row => row.cells[{column}].textContent)"
    );
    serde_json::from_value(tab.evaluate(&script)).expect("texts")
}

#[test]
fn a_browser_draws_sorts_and_points() {
    let scene = Scene::new();
    scene.train("--epochs 3");
    let Some(mut tab) = Tab::open() else { return };
    shown(&mut tab, &scene, "exp/latest/report.html", 1280);

    let points =
        "[...document.querySelectorAll('#learning svg.chart')].map(c => c.querySelectorAll('.point').length)";
    assert_eq!(tab.evaluate(points), json!([6, 6, 6, 3]), "training and validation, three epochs; the rate");
    let drawn =
        "[...document.querySelectorAll('.chart .point')].every(p => p.getBoundingClientRect().width > 4)";
    assert_eq!(tab.evaluate(drawn), true);
    assert_eq!(tab.evaluate("document.querySelectorAll('.confusion tbody td').length"), 9);

    // A click sorts, a second one the other way; the keyboard does, too.
    assert_eq!(column(&mut tab, "#classes table:not(.confusion)", 0), ["blue", "green", "red"]);
    let place = "(() => { const b = document.querySelector('#classes th button'); b.scrollIntoView({block: 'center'}); \
                 const r = b.getBoundingClientRect(); b.focus(); return [r.x + r.width / 2, r.y + r.height / 2]; })()";
    let place: [f64; 2] = serde_json::from_value(tab.evaluate(place)).expect("a place");
    tab.click(place[0], place[1]);
    assert_eq!(tab.evaluate("document.querySelector('#classes th').ariaSort"), "ascending");
    tab.press("Enter", 13);
    assert_eq!(tab.evaluate("document.querySelector('#classes th').ariaSort"), "descending");
    assert_eq!(column(&mut tab, "#classes table:not(.confusion)", 0), ["red", "green", "blue"]);

    // Pointing at a point tells about it; so do the arrow keys.
    let place = "(() => { const p = document.querySelector('#learning .point'); p.scrollIntoView({block: 'center'}); \
                 const r = p.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()";
    let place: [f64; 2] = serde_json::from_value(tab.evaluate(place)).expect("a place");
    tab.click(place[0] + 2.0, place[1]);
    let told = "document.querySelector('#tip.shown')?.textContent ?? ''";
    let text = tab.evaluate(told);
    assert!(text.as_str().is_some_and(|text| text.starts_with("epoch 1, training: ")), "{text}");
    tab.evaluate("document.querySelector('#learning svg.chart').focus()");
    tab.press("ArrowRight", 39);
    assert_ne!(tab.evaluate(told), text, "the next point");

    // A legend's button hides its series in every chart of its figure.
    let hidden = "document.querySelectorAll('#learning .off').length";
    tab.evaluate("document.querySelector('#learning [data-toggles=\"1\"]').click()");
    assert_eq!(tab.evaluate(hidden), 3);
    tab.evaluate("document.querySelector('#learning [data-toggles=\"1\"]').click()");
    assert_eq!(tab.evaluate(hidden), 0);
    assert!(tab.complaints().is_empty(), "{:?}", tab.complaints());

    for width in [320, 360, 768] {
        shown(&mut tab, &scene, "exp/latest/report.html", width);
    }
}

#[test]
fn names_are_text_whatever_they_are() {
    let scene = Scene::empty();
    scene.write("tiny.yaml", crate::scene::TINY);
    let classes = ["<script>window.bad = 1<", "\"quoted\" onerror='window.bad = 1'", "a & b &lt;"];
    for (index, class) in classes.iter().enumerate() {
        for (split, count) in [("train", 8), ("val", 4), ("test", 4)] {
            for image in 0..count {
                let colour = [200, 60, 40 * index as u8];
                scene.image(&format!("photos/{split}/{class}/<b>{image}.bmp"), colour, image);
            }
        }
    }
    // Without training, so that there are mistakes: their captions have names of files, too.
    scene.ok(&format!("train --model tiny.yaml --data photos {RECIPE} --learning-rate 1e-6 --epochs 1"));
    let page = scene.read("exp/latest/report.html");
    assert!(!page.contains("<script>window"), "markup");
    assert!(page.contains("&lt;b&gt;") && page.contains("&quot;quoted&quot; onerror=&#39;"), "escaped");
    let Some(mut tab) = Tab::open() else { return };
    shown(&mut tab, &scene, "exp/latest/report.html", 800);
    assert_eq!(tab.evaluate("typeof window.bad"), "undefined");
    let mut expected = classes.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(column(&mut tab, "#classes table:not(.confusion)", 0), expected);
    let loaded =
        "[...document.images].every(i => i.complete && i.naturalWidth > 0) && document.images.length > 0";
    tab.evaluate("document.images[0].scrollIntoView()");
    tab.evaluate("document.images.forEach?.(i => i.loading = 'eager')");
    // Pictures are decoded when they come near the window, not at once.
    let is_loaded = (0..50).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        tab.evaluate(loaded) == true
    });
    assert!(is_loaded, "the pictures of the mistakes");
}

/// A scan of three cuts, of which anchors predict more than the probe.
fn scan() -> Value {
    let cut = |index: usize, name: &str, macro_f1: f64| {
        let cost = 10usize.pow(index as u32);
        json!({
            "name": name, "index": index, "out_channels": 8, "parameters": 1000 * cost, "multiply_adds": 20_000 * cost,
            "file_bytes": 4000 * cost, "peak_activation_bytes": 9000, "latency_ms": {"1": 0.5 * cost as f64, "32": 9.0},
            "probe": {"accuracy": macro_f1, "macro_f1": macro_f1, "low": macro_f1 - 0.1, "high": macro_f1 + 0.1},
            "knn_accuracy": 0.5, "class_mean_accuracy": 0.4, "logme": -0.3,
            "predicted_macro_f1": {"value": macro_f1 + 0.05, "low": macro_f1, "high": macro_f1 + 0.1},
        })
    };
    json!([{
        "backbone": "tiny", "image_size": 32, "images": 36, "seconds": 2.0, "forward_seconds": 1.0,
        "probe_seconds": 0.5, "cached": false, "train_images": 24, "validation_images": 12,
        "classes": ["blue", "green", "red"], "device": "cpu", "weights_from": "scratch", "knee": "model.1",
        "cuts": [cut(0, "model.0", 0.3), cut(1, "model.1", 0.7), cut(2, "<b>model.2", 0.6)],
        "anchors": [{"name": "model.1", "index": 1, "epochs": 1, "probe_macro_f1": 0.7, "tuned_macro_f1": 0.75,
                     "seconds": 1.0}],
    }])
}

fn elimination() -> Value {
    let network = |cut: Value, parameters: usize, macro_f1: f64| {
        json!({
            "run": null, "backbone": "tiny", "cut": cut, "image_size": 32, "parameters": parameters,
            "multiply_adds": 200_000, "file_bytes": 40_000, "latency_ms": {"1": 4.0},
            "predicted_macro_f1": {"value": 0.75, "low": 0.7, "high": 0.8}, "macro_f1": macro_f1, "low": 0.6,
            "high": 0.9, "seeds": [],
        })
    };
    let estimate = json!({"value": -0.01, "low": -0.05, "high": 0.03});
    json!({
        "winner": network(json!("model.1"), 10_000, 0.78),
        "uncut": network(Value::Null, 100_000, 0.79),
        "baseline": network(json!("model.1"), 10_000, 0.78),
        "considered": [{"backbone": "tiny", "cut": "model.1", "image_size": 32, "parameters": 10_000,
            "latency_ms": {"1": 5.0}, "probe_macro_f1": 0.7, "predicted_macro_f1": null,
            "rungs": [{"epochs": 2, "macro_f1": 0.74}]}],
        "seconds": 60.0, "search_seconds": 30.0, "split": "test", "images": 12, "epochs": 2,
        "budget": {"max_parameters": 50_000, "max_latency_ms": null, "max_file_bytes": null, "max_f1_drop": null},
        "regret": null,
        "against_uncut": {"macro_f1_difference": estimate, "macro_f1": "within_noise",
            "latency_ratio": {"1": {"value": 0.4, "low": 0.3, "high": 0.5}}, "latency": "lower",
            "parameters_ratio": 0.1, "file_bytes_ratio": 0.1},
        "against_baseline": null,
    })
}

#[test]
fn a_scan_has_a_page() {
    let scene = Scene::empty();
    scene.write("exp/scan/scan.json", scan().to_string());
    scene.ok("report exp/scan");
    let page = scene.read("exp/scan/report.html");
    stable(&scene).bind(|| insta::assert_snapshot!("report_of_a_scan", outline(&page)));
    assert!(page.contains("The knee is model.1, with a macro-F1 of 0.750"), "in words");
    assert!(!page.contains("<b>model"), "escaped");
    let Some(mut tab) = Tab::open() else { return };
    for width in [1280, 320] {
        shown(&mut tab, &scene, "exp/scan/report.html", width);
    }
    let points = "[...document.querySelectorAll('svg.chart')].map(c => c.querySelectorAll('.point').length)";
    assert_eq!(
        tab.evaluate(points),
        json!([3, 3, 3, 7]),
        "cuts by three costs; probe, predicted and one anchor"
    );
    let frontier = "document.querySelectorAll('.point.open:not(.beaten)').length";
    assert_eq!(tab.evaluate(frontier), 6, "the dearest cut is beaten on every axis");
    let sort =
        "[...document.querySelectorAll('#cuts th button')].find(b => b.textContent === 'Probe F1').click()";
    tab.evaluate(sort);
    assert_eq!(column(&mut tab, "#cuts table", 0), ["model.1 (knee)", "<b>model.2", "model.0"]);
}

#[test]
fn an_elimination_is_told_in_the_winners_page() {
    let scene = Scene::new();
    let run = scene.train("");
    let name = run.file_name().expect("a name").to_string_lossy().into_owned();
    scene.write(&format!("exp/{name}/scan.json"), scan().to_string());
    scene.write(&format!("exp/{name}/elimination.json"), elimination().to_string());
    scene.ok("report exp/latest");
    let page = scene.read("exp/latest/report.html");
    for text in [
        "tiny@model.1 at 32 px won with a macro-F1 of 0.780 on 12 test images",
        "0.750 was predicted (0.700 to 0.800); it came to 0.780",
        "Against the uncut network its macro-F1 is within the noise: -0.010 (-0.050 to +0.030)",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let Some(mut tab) = Tab::open() else { return };
    shown(&mut tab, &scene, "exp/latest/report.html", 1280);
    let points = "[...document.querySelectorAll('#scores svg.chart, #depth svg.chart')]\
                  .map(c => c.querySelectorAll('.point').length)";
    assert_eq!(tab.evaluate(points), json!([5, 5, 5, 9]), "the winner and the uncut network, too");
    assert_eq!(
        tab.evaluate("document.querySelectorAll('#classes .confusion').length"),
        1,
        "and its training"
    );
}
