use super::*;
use crate::report::examples;

#[test]
fn holds_what_was_measured_against_the_bound() {
    let run = examples::run();
    let cases: [(&str, Option<f64>, bool); 33] = [
        ("ack.p99<10ms", Some(9.0), true),
        ("ack.p99 < 9ms", Some(9.0), false),
        ("ack.p99<=9ms", Some(9.0), true),
        ("ack.p99 >= 9000 us", Some(9_000.0), true),
        ("ack.p99>9000µs", Some(9_000.0), false),
        ("ack.p99==0.009s", Some(0.009), true),
        ("ack.p50<2ms", Some(1.0), true),
        ("ack.p90<2ms", Some(3.0), false),
        ("ack.p999<1s", Some(0.02), true),
        ("ack.max<1s", Some(0.03), true),
        ("ack.count>=10_000", Some(10_000.0), true),
        ("delivery.p99<1ms", Some(12.0), false),
        // Nothing of the kind was measured: nothing holds, but it can be said that there were none.
        ("resume.p99<10s", None, false),
        ("resume.count==0", Some(0.0), true),
        ("errors==0", Some(3.0), false),
        ("errors<4", Some(3.0), true),
        ("errors.OVERLOADED==3", Some(3.0), true),
        ("errors.NOT_A_MEMBER==0", Some(0.0), true),
        ("closes.3002==1", Some(1.0), true),
        ("disconnects<=1", Some(1.0), true),
        ("violations==0", Some(0.0), true),
        ("sent>=10003", Some(10_003.0), true),
        ("acknowledged==10000", Some(10_000.0), true),
        ("deliveries>100000", Some(90_000.0), false),
        ("sends_per_s>1000", Some(1_000.3), true),
        ("deliveries_per_s>9000.5", Some(9_000.0), false),
        ("server.cpu_us_per_delivery<50", Some(50.0), false),
        ("server.cpu_us_per_delivery<=50us", Some(50.0), true),
        ("server.rss<200MB", Some(150.0), true),
        ("server.rss<100MiB", Some(143.05), false),
        ("server.commits_total>0", Some(77.0), true),
        ("server.closes_total{code=3002}==2", Some(2.0), true),
        ("server.no_such_metric<1", None, false),
    ];
    for (text, value, held) in cases {
        let assertion: Assertion = text.parse().expect(text);
        let threshold = assertion.judge(&run);
        assert_eq!((threshold.text.as_str(), threshold.held), (text, held), "{text}: {threshold:?}");
        let same = match (threshold.value, value) {
            (Some(a), Some(b)) => (a - b).abs() < 0.01,
            (a, b) => a == b,
        };
        assert!(same, "{text}: {threshold:?}");
    }
}

#[test]
fn says_what_is_wrong_with_an_expression() {
    let cases = [
        ("ack.p95<10ms", "`ack.p95` is no name; did you mean ack.p9"),
        ("akc.p99<10ms", "did you mean ack.p99?"),
        ("error==0", "did you mean errors?"),
        ("server.rs s<1MB", "did you mean server.rss?"),
        ("delivries>5", "did you mean deliveries?"),
        ("<5", "is no name"),
        ("ack.p99", "has none of < <= > >= =="),
        ("ack.p99=10ms", "the operators are < <= > >= =="),
        ("ack.p99<10", "it is a time: write us, ms or s"),
        ("ack.p99<1h", "it is a time"),
        ("deliveries>1e5", "it is a number without a unit"),
        ("ack.p99<10MB", "it is a time"),
        ("ack.p99<ms", "does not begin with a number"),
        ("ack.p99<1-2ms", "does not begin with a number"),
        ("errors<1ms", "it is a number without a unit"),
        ("server.rss<1ms", "it is memory: write kB, MB, GB"),
        ("server.cpu_us_per_delivery<1MB", "it is a time"),
    ];
    for (text, reason) in cases {
        let error = text.parse::<Assertion>().expect_err(text);
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn every_name_is_understood_and_has_a_value_in_a_whole_run() {
    let run = examples::run();
    for name in names() {
        let unit = if dimension(&name) == Some(Dimension::Time) { "s" } else { "" };
        let assertion: Assertion = format!("{name}>=0{unit}").parse().expect(&name);
        let absent = (name.starts_with("resume.") || name.starts_with("late.")) && !name.ends_with("count");
        assert_eq!(assertion.judge(&run).held, !absent, "{name}");
    }
}

#[test]
fn knows_which_expressions_the_first_error_breaks() {
    let cases = [
        ("errors==0", true),
        ("errors<1", true),
        ("errors<=0", true),
        ("errors<=2", false),
        ("errors>0", false),
        ("ack.p99<1ms", false),
    ];
    for (text, forbids) in cases {
        assert_eq!(text.parse::<Assertion>().expect(text).forbids_errors(), forbids, "{text}");
    }
}
