use super::*;
use crate::report::examples;

const MACHINE: Machine = Machine { cores: 8.0, memory_bytes: 1e10 };

fn plan(objective: &[&str]) -> Plan {
    let objective = objective.iter().map(|text| text.parse().expect("good")).collect();
    Plan { objective, first: 1.0, grow: 2.0, precision: 0.1, steps_max: 20, stop: || false }
}

/// A server that does `limit` times the scenario's load, then errs.
fn server(limit: f64, shards: u32) -> impl FnMut(f64) -> Result<RunResult, String> {
    move |factor| {
        let mut run = examples::run();
        run.shards = shards;
        let scale = |count: u64| (count as f64 * factor) as u64;
        run.counts.offered = scale(10_000);
        run.counts.sent = run.counts.offered;
        run.counts.acknowledged = scale(10_000).min((limit * 10_000.0) as u64);
        run.counts.errors.clear();
        run.shard_busy = vec![(factor / limit).min(1.0)];
        run.latency.insert("ack".into(), examples::distribution(10_000, 1.0 / (1.0 - factor / limit).max(0.01)));
        if factor > limit {
            run.counts.errors.insert("OVERLOADED".into(), 7);
        }
        Ok(run)
    }
}

/// A search over three counts of shards.
pub fn example() -> Limits {
    let plan = plan(&["ack.p99<=50ms", "errors==0"]);
    let sweep = |shards: u32, limit: f64| search(&plan, &MACHINE, &mut server(limit, shards)).expect("runs");
    Limits::of("chat", &plan.objective, MACHINE, vec![sweep(1, 4.0), sweep(2, 7.0), sweep(4, 11.0)])
}

#[test]
fn closes_in_on_the_limit_from_wherever_it_begins() {
    for first in [0.01, 0.3, 1.0, 7.0, 100.0] {
        for limit in [0.5, 1.0, 6.3, 40.0] {
            let plan = Plan { first, ..plan(&["errors==0"]) };
            let mut runs = 0;
            let mut server = server(limit, 1);
            let sweep = search(&plan, &MACHINE, &mut |factor| {
                runs += 1;
                server(factor)
            })
            .expect("runs");
            let (knee, broken) = (sweep.knee().expect("held").factor, sweep.broken().expect("broke").factor);
            assert!(knee <= limit && limit < broken && broken / knee <= 1.1, "{first} {limit}: {knee} {broken}");
            assert!(runs == sweep.steps.len() && runs <= 20, "{runs}");
            assert!(sweep.steps.is_sorted_by(|a, b| a.factor < b.factor));
            assert!(sweep.ran_out.starts_with("CPU of a shard"), "{}", sweep.ran_out);
        }
    }
}

#[test]
fn ends_where_there_is_no_limit_and_where_nothing_holds() {
    let never = search(&Plan { steps_max: 5, ..plan(&["errors==0"]) }, &MACHINE, &mut server(1e9, 1)).expect("runs");
    assert_eq!((never.steps.len(), never.broken().is_none(), never.ran_out.as_str()), (5, true, ""));
    assert!(never.verdict().starts_with("no limit up to"), "{}", never.verdict());
    let always = search(&Plan { steps_max: 5, ..plan(&["errors==1"]) }, &MACHINE, &mut server(1e9, 1)).expect("runs");
    assert_eq!((always.steps.len(), always.knee().is_none()), (5, true));
    let limits = Limits::of("chat", &[], MACHINE, vec![never, always]);
    assert!(!limits.found());
    assert!(
        limits.notes.join(" ").contains("never broke") && limits.notes.join(" ").contains("even under the least load")
    );
    assert!(search(&plan(&[]), &MACHINE, &mut |_| Err("no server".into())).is_err());
}

#[test]
fn a_broken_guarantee_or_a_load_that_was_not_sent_breaks_every_objective() {
    type Change = fn(&mut RunResult);
    let cases: [(&str, Change); 4] = [
        ("a guarantee", |run| run.violations.add("a hole".into())),
        ("nothing was checked", |run| run.checked_events = 0),
        ("the generator did not send the load", |run| run.counts.sent = 9_000),
        ("ack.p99<1ms", |_| {}),
    ];
    for (reason, change) in cases {
        let mut run = examples::run();
        change(&mut run);
        let objective: &[Assertion] = &[reason.parse().unwrap_or_else(|_| "ack.p99<1s".parse().expect("good"))];
        let step = Step::of(1.0, run, objective);
        assert_eq!((step.held, step.broken), (false, vec![reason.to_owned()]));
    }
}

#[test]
fn shard_counts_give_the_law() {
    let limits = example();
    assert!(limits.found());
    let fit = limits.usl.as_ref().expect("a fit");
    assert!(
        fit.sigma.is_some_and(|sigma| (0.0..0.4).contains(&sigma)) && fit.kappa.is_some() && fit.error < 0.1,
        "{fit:?}"
    );
    let text = limits.text();
    for part in
        ["chat (ack.p99<=50ms, errors==0), 1 shard:", "the knee is at", "ran out first: ", "scaling: one shard alone"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert_eq!(limits.ack_p99_bound_us(), Some(50_000.0));
    let json = serde_json::to_value(&limits).expect("json");
    assert_eq!(json["sweeps"][2]["shards"], 4);
}

#[test]
fn only_what_is_broken_for_good_ends_a_run() {
    let second = |measured, errors| Second { measured, errors, ..Second::default() };
    let cases = [
        (&["errors==0"][..], true, 1, true),
        (&["errors==0"], false, 1, false),
        (&["errors==0"], true, 0, false),
        (&["ack.p99<1ms"], true, 1, false),
        (&["ack.p99<1ms", "errors<1"], true, 1, true),
    ];
    for (objective, measured, errors, ends) in cases {
        assert_eq!(watch(&plan(objective).objective, &second(measured, errors)).is_break(), ends, "{objective:?}");
    }
}
