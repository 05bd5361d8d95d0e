//! Engine and mesh by instructions, which no other load of the machine changes: two shards against one.

use crate::cmd::bench::{Cpu, Experiment, Good, Plan, Row};
use std::path::{Path, PathBuf};
use std::process::Command;

pub const EXPERIMENT: Experiment =
    Experiment { rows: &[14], what: "instructions per delivery under callgrind, two shards against one", run };

/// Rooms, members of each, and messages.
type Shape = (u32, u32, u32);

fn run(plan: Plan) -> Result<Vec<Row>, String> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Err("there is no valgrind here: .ci/tools valgrind".into());
    }
    let program = program()?;
    let large = (1, 1000, plan.of(200, 20));
    let small = (100, 10, plan.of(4000, 400));
    let (mut values, mut details) = (Vec::new(), Vec::new());
    for (shape, name) in [(large, "one room of 1,000"), (small, "100 rooms of 10")] {
        let (one, two) = (per_delivery(&program, 1, shape)?, per_delivery(&program, 2, shape)?);
        values.push(two / one);
        details.push(format!("{name}: {one:.0} on one shard, {two:.0} on two ({:.3} ×)", two / one));
    }
    Ok(vec![Row {
        number: 14,
        name: "engine and mesh, instructions per delivery (callgrind): two shards against one, one room of 1,000",
        value: values[0],
        unit: "×",
        good: Good::AtMost,
        reach: 1.1,
        stretch: 1.02,
        peer: "–",
        cpu: Cpu::default(),
        details: details.join("; "),
    }])
}

/// The instructions of the measured part over its deliveries.
fn per_delivery(program: &Path, shards: u32, (rooms, members, messages): Shape) -> Result<f64, String> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*mesh_cost*measured*"]);
    valgrind.arg("--callgrind-out-file=/dev/null").arg(program);
    valgrind.args([shards, rooms, members, messages].map(|number| number.to_string()));
    let output = valgrind.output().map_err(|error| error.to_string())?;
    let (out, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let number = |text: &str, before: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.split_once(before))?.1;
        line.trim().replace(',', "").parse().ok()
    };
    match (number(&log, "Collected :"), number(&out, "deliveries")) {
        (Some(instructions), Some(deliveries)) if instructions > 0.0 => Ok(instructions / deliveries),
        _ => Err(format!("callgrind tells nothing: {log}")),
    }
}

/// The program beside this one, brought up to date by cargo first.
fn program() -> Result<PathBuf, String> {
    let mine = std::env::current_exe().map_err(|error| error.to_string())?;
    let dir = mine.parent().ok_or("in a directory")?;
    let target = dir.parent().ok_or("in a target directory")?;
    let path = dir.join("mesh-cost");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--release", "--workspace", "--bin", "mesh-cost", "--manifest-path"]).arg(manifest);
    match build.arg("--target-dir").arg(target).status() {
        Ok(status) if !status.success() => Err("cargo cannot build mesh-cost".into()),
        Err(error) if !path.exists() => Err(format!("no program at {} and no cargo: {error}", path.display())),
        _ => Ok(path),
    }
}
