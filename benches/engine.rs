//! What a command and a delivery cost in the engine, without sockets and without a database.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use veza_benches::Bench;
use veza_engine::wire::parse::Parser;

fn send(room: u64, number: u64) -> String {
    let content = "x".repeat(128);
    format!(
        r#"{{"type":"send_message","id":{number},"data":{{"room_id":{room},"content":"{content}","client_id":"c{number}"}}}}"#
    )
}

fn parse(criterion: &mut Criterion) {
    let mut parser = Parser::new();
    let frame = send(1, 1);
    criterion.bench_function("wire/parse send_message", |bencher| {
        let bytes = frame.clone().into_bytes();
        bencher.iter(|| black_box(parser.parse(&bytes)).command.is_ok());
    });
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("room/send to");
    for receivers in [1, 10, 100, 1000] {
        let (mut bench, room) = Bench::with_room(receivers);
        let mut number = 0;
        group.throughput(Throughput::Elements(u64::from(receivers)));
        group.bench_with_input(BenchmarkId::from_parameter(receivers), &receivers, |bencher, _| {
            bencher.iter(|| {
                number += 1;
                bench.text(0, &send(room, number));
            });
        });
    }
    group.finish();
}

fn batch(criterion: &mut Criterion) {
    let (mut bench, room) = Bench::with_room(10);
    let mut number = 0;
    let mut group = criterion.benchmark_group("journal/one turn of");
    group.throughput(Throughput::Elements(64));
    group.bench_function("64 sends in one batch", |bencher| {
        bencher.iter(|| {
            let frames: Vec<(u32, String)> = (0..64)
                .map(|index| {
                    number += 1;
                    (index % 10, send(room, number))
                })
                .collect();
            bench.texts(&frames);
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_millis(500)).measurement_time(std::time::Duration::from_secs(2));
    targets = parse, fan_out, batch
}
criterion_main!(benches);
