//! What the engine's parts cost, without sockets and without a database: frames in and out (wire), commands (room), one frame to
//! many (fan-out), the way to the store (journal), the way between shards (mesh).

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use veza_benches::{Bench, now};
use veza_engine::PeerMessage;
use veza_engine::deflate::{Deflater, Window};
use veza_engine::fanout::{Frame, FrameBytes, FrameClass, Outbox, text_frame};
use veza_engine::id::{RoomId, Seq, ShardId, UserId};
use veza_engine::store::{EventKind, EventRecord, EventRow};
use veza_engine::time::Mono;
use veza_engine::wire::encode::{message_object, push_frame};
use veza_engine::wire::parse::Parser;
use veza_runtime::doorbell::Doorbell;
use veza_runtime::mesh::{RING_MESSAGES_MAX, mesh};

/// So many bytes of what people write: repetitive, but not more so than life.
fn words(bytes: usize, mut seed: u64) -> String {
    const WORDS: [&str; 24] = [
        "the", "deploy", "is", "running", "on", "staging", "again", "and", "I", "think", "we", "should", "look", "at",
        "logs", "before", "lunch", "thanks", "server", "room", "message", "latency", "graphs", "tomorrow",
    ];
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(WORDS[(seed >> 33) as usize % WORDS.len()]);
        text.push(' ');
    }
    text.truncate(bytes);
    text
}

fn send(room: u64, number: u64) -> String {
    let content = words(128, number);
    format!(
        r#"{{"type":"send_message","id":{number},"data":{{"room_id":{room},"content":"{content}","client_id":"c{number}"}}}}"#
    )
}

/// A message as the store gives it.
fn record(bytes: usize, number: u64) -> EventRecord {
    let mut row = EventRow::new(RoomId(7), Seq(number), EventKind::Message, now(number).wall, number);
    row.author_id = Some(UserId(40 + number % 90));
    row.content = Some(words(bytes, number).into());
    EventRecord { row, username: Some(format!("user{}", number % 90).into()), state: None }
}

fn push(bytes: usize, number: u64) -> FrameBytes {
    let mut data = Vec::with_capacity(512);
    message_object(&mut data, &record(bytes, number));
    push_frame("message", &data)
}

fn wire(criterion: &mut Criterion) {
    let mut parser = Parser::new();
    let rooms: Vec<String> = (1..=100).map(|room| format!(r#"{{"room_id":{room},"last_seq":{}}}"#, room * 7)).collect();
    for (name, frame) in [
        ("send_message", send(1, 1)),
        ("get_history", r#"{"type":"get_history","id":1,"data":{"room_id":1,"limit":100}}"#.to_owned()),
        ("resume of 100 rooms", format!(r#"{{"type":"resume","id":1,"data":{{"rooms":[{}]}}}}"#, rooms.join(","))),
    ] {
        criterion.bench_function(&format!("wire/parse {name}"), |bencher| {
            bencher.iter(|| black_box(parser.parse(frame.as_bytes())).command.is_ok());
        });
    }
    for bytes in [128, 1024] {
        let record = record(bytes, 1);
        criterion.bench_function(&format!("wire/encode a message of {bytes}"), |bencher| {
            let mut data = Vec::with_capacity(2048);
            bencher.iter(|| {
                data.clear();
                message_object(&mut data, &record);
                push_frame("message", &data).len()
            });
        });
    }
}

fn deflate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire/compress");
    let messages: Vec<String> = (1..=100).map(|n| String::from_utf8_lossy(&push(128, n)[4..]).into_owned()).collect();
    let frames = [
        ("a message of 128", push(128, 1)),
        ("a message of 1024", push(1024, 1)),
        ("a page of 100 messages of 128", text_frame(format!("[{}]", messages.join(",")).as_bytes())),
    ];
    for (name, frame) in frames {
        let (mut deflater, mut turn) = (Deflater::default(), 0);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || FrameBytes::from(frame.to_vec()), // not compressed yet
                |fresh| {
                    turn += 1;
                    deflater.pack(Mono(turn), &fresh).expect("it shrinks").len()
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn room(criterion: &mut Criterion) {
    for (name, window) in [("plain", Window::NONE), ("compressed", Window(15))] {
        let mut group = criterion.benchmark_group(format!("room/send, {name}, to"));
        for receivers in [1, 10, 100, 1000] {
            let (mut bench, room) = Bench::with_room_of(receivers, window);
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
        let (mut bench, room) = Bench::with_room_of(2, window);
        (1..=200).for_each(|number| bench.text(0, &send(room, number)));
        for (what, command) in [
            ("history of 100", format!(r#"{{"type":"get_history","id":1,"data":{{"room_id":{room},"limit":100}}}}"#)),
            (
                "subscribe again, 100 missed",
                format!(r#"{{"type":"subscribe","id":1,"data":{{"room_id":{room},"last_seq":100}}}}"#),
            ),
        ] {
            criterion.bench_function(&format!("room/{what}, {name}"), |bencher| {
                let before = bench.written;
                bencher.iter(|| bench.text(1, &command));
                assert!(bench.written > before, "it is answered");
            });
        }
    }
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan-out/into outboxes and out, frames of each");
    const RECEIVERS: usize = 1000;
    for frames in [1, 8, 64] {
        let bytes: Vec<FrameBytes> = (0..frames).map(|n| push(128, n as u64 + 1)).collect();
        let mut outboxes: Vec<Outbox> = (0..RECEIVERS).map(|_| Outbox::default()).collect();
        group.throughput(Throughput::Elements((frames * RECEIVERS) as u64));
        group.bench_with_input(BenchmarkId::from_parameter(frames), &frames, |bencher, _| {
            bencher.iter(|| {
                for bytes in &bytes {
                    let frame = Frame::new(bytes.clone());
                    outboxes.iter_mut().for_each(|outbox| outbox.push(frame.clone(), FrameClass::Push));
                }
                outboxes.iter_mut().for_each(|outbox| {
                    let waiting = outbox.push_bytes();
                    outbox.advance(waiting);
                });
            });
        });
    }
    group.finish();
}

fn journal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal/sends of one turn in one batch");
    for sends in [1, 8, 64, 512] {
        let (mut bench, room) = Bench::with_room(10);
        let mut number = 0;
        group.throughput(Throughput::Elements(sends));
        group.bench_with_input(BenchmarkId::from_parameter(sends), &sends, |bencher, _| {
            bencher.iter(|| {
                let frames: Vec<(u32, String)> = (0..sends)
                    .map(|index| {
                        number += 1;
                        ((index % 10) as u32, send(room, number))
                    })
                    .collect();
                bench.texts(&frames);
            });
        });
    }
    group.finish();
}

fn between_shards(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mesh/events to another shard and back, in one turn");
    for messages in [1u64, 64, 512] {
        let bells: Vec<Arc<Doorbell>> = (0..2).map(|_| Arc::new(Doorbell::new().expect("an eventfd"))).collect();
        let mut ports = mesh::<PeerMessage>(&bells, RING_MESSAGES_MAX);
        let frame = push(128, 1);
        group.throughput(Throughput::Elements(2 * messages));
        group.bench_with_input(BenchmarkId::from_parameter(messages), &messages, |bencher, _| {
            bencher.iter(|| {
                for (from, to) in [(0usize, 1usize), (1, 0)] {
                    for seq in 1..=messages {
                        let message =
                            PeerMessage::Event { room_id: RoomId(7), seq: Seq(seq), frame: frame.clone(), more: false };
                        ports[from].send(ShardId(to as u16), message);
                    }
                    ports[from].ring();
                    let from = ShardId(from as u16);
                    let mut got = 0;
                    while let Some(message) = ports[to].receive(from) {
                        got += u64::from(matches!(black_box(message), PeerMessage::Event { .. }));
                    }
                    assert_eq!(got, messages);
                    ports[to].made_room(from);
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = wire, deflate, room, fan_out, journal, between_shards
}
criterion_main!(benches);
