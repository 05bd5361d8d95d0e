//! Whether the load generator finds what it is there to find: between it and a real server stands a liar, who changes one
//! frame. Each lie must be found, and the truth must pass.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use veza_loadtest::fault::Store;
use veza_loadtest::load::{Own, Scenario, Target, run};
use veza_loadtest::result::RunResult;

/// What becomes of a frame: the texts that are passed on in its place.
type Lie = fn(&str) -> Vec<String>;

/// A lie about the so manyth frame (from 1, in a connection) that begins with a text.
#[derive(Clone, Copy)]
struct Fault {
    name: &'static str,
    begins: &'static str,
    /// Which of these in each connection; 0: none at all.
    nth: u64,
    /// Lies in all, over all connections.
    most: u64,
    lie: Lie,
}

const MESSAGE: &str = r#"{"type":"message","data""#;
const SENT: &str = r#"{"type":"message_sent""#;
const HISTORY: &str = r#"{"type":"room_history""#;
const EDITED: &str = r#"{"type":"message_edited","data""#;

const RESUMED: &str = r#"{"type":"resumed""#;

/// The text with the number after a name raised.
fn raised(text: &str, name: &str, by: u64) -> String {
    let at = text.find(name).expect("such a name") + name.len();
    let end = at + text[at..].find(|c: char| !c.is_ascii_digit()).expect("an end");
    format!("{}{}{}", &text[..at], text[at..end].parse::<u64>().expect("a number") + by, &text[end..])
}

const FAULTS: [Fault; 19] = [
    Fault { name: "a push lost", begins: MESSAGE, nth: 5, most: 1, lie: |_| vec![] },
    Fault { name: "a push twice", begins: MESSAGE, nth: 5, most: 1, lie: |text| vec![text.into(), text.into()] },
    Fault { name: "a hole", begins: MESSAGE, nth: 5, most: 1, lie: |text| vec![raised(text, "\"seq\":", 1)] },
    Fault {
        name: "content damaged",
        begins: MESSAGE,
        nth: 5,
        most: 1,
        lie: |text| vec![text.replacen("xxxx", "xyxx", 1)],
    },
    Fault {
        name: "another author",
        begins: MESSAGE,
        nth: 5,
        most: 1,
        lie: |text| vec![raised(text, "\"author_id\":", 1)],
    },
    Fault {
        name: "a message_id of another",
        begins: MESSAGE,
        nth: 5,
        most: 1,
        lie: |text| vec![raised(text, "\"message_id\":", 1)],
    },
    Fault {
        name: "a foreign room",
        begins: MESSAGE,
        nth: 5,
        most: 1,
        lie: |text| vec![raised(text, "\"room_id\":", 1000)],
    },
    Fault {
        name: "told of a foreign room",
        begins: MESSAGE,
        nth: 5,
        most: 1,
        lie: |text| vec![text.into(), r#"{"type":"typing","data":{"room_id":99999,"user_id":1}}"#.into()],
    },
    Fault { name: "no frame", begins: MESSAGE, nth: 5, most: 1, lie: |text| vec![text.into(), "{}".into()] },
    Fault { name: "the last push lost to one", begins: MESSAGE, nth: 5, most: u64::MAX, lie: |_| vec![] },
    Fault { name: "an acknowledgement lost", begins: SENT, nth: 2, most: 1, lie: |_| vec![] },
    Fault {
        name: "an acknowledgement twice",
        begins: SENT,
        nth: 2,
        most: 1,
        lie: |text| vec![text.into(), text.into()],
    },
    Fault {
        name: "acknowledged as another event",
        begins: SENT,
        nth: 2,
        most: 1,
        lie: |text| vec![raised(&raised(text, "\"seq\":", 1), "\"message_id\":", 1)],
    },
    Fault {
        name: "acknowledged, and refused",
        begins: SENT,
        nth: 2,
        most: 1,
        lie: |text| {
            let id = text.split("\"id\":").nth(1).and_then(|rest| rest.split(',').next()).expect("an id");
            vec![format!(
                r#"{{"type":"error","id":{id},"data":{{"code":"OVERLOADED","message":"","retryable":true}}}}"#
            )]
        },
    },
    Fault {
        name: "a history without a message",
        begins: HISTORY,
        nth: 1,
        most: 1,
        lie: |text| {
            let mut frame: serde_json::Value = serde_json::from_str(text).expect("JSON");
            drop(frame["data"]["messages"].as_array_mut().expect("messages").remove(0));
            // `type` and `id` first, as the protocol has them.
            vec![format!(r#"{{"type":"room_history","id":{},"data":{}}}"#, frame["id"], frame["data"])]
        },
    },
    Fault {
        name: "an edit of another's content",
        begins: EDITED,
        nth: 1,
        most: 1,
        lie: |text| vec![text.replacen(" e", " e7", 1)],
    },
    Fault {
        name: "a resume of one room of two",
        begins: RESUMED,
        nth: 1,
        most: 1,
        lie: |text| vec![format!("{}]}}}}", &text[..=text.find('}').expect("the first room")])],
    },
    Fault {
        name: "a resume before what was seen",
        begins: RESUMED,
        nth: 1,
        most: 1,
        lie: |text| vec![text.replacen("\"seq\":", "\"seq\":0,\"was\":", 1)],
    },
    Fault {
        name: "a replay with a hole",
        begins: RESUMED,
        nth: 1,
        most: 1,
        lie: |text| {
            let room = text.split("\"room_id\":").nth(1).and_then(|rest| rest.split(',').next()).expect("a room");
            vec![text.into(), format!(r#"{{"type":"void","data":{{"room_id":{room},"seq":99999}}}}"#)]
        },
    },
];

/// Passes everything on but for one fault; answers where it listens.
fn liar(server: SocketAddr, fault: Fault, told: Arc<AtomicU64>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for near in listener.incoming() {
            let (near, far) = (near.unwrap(), TcpStream::connect(server).unwrap());
            let (to, from) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            let told = told.clone();
            thread::spawn(move || copy(near, &far));
            thread::spawn(move || answer(from, &to, fault, &told));
        }
    });
    addr
}

fn copy(mut from: TcpStream, mut to: &TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// The server's side: the answer to the upgrade as it is, then frame by frame.
fn answer(from: TcpStream, mut to: &TcpStream, fault: Fault, told: &AtomicU64) {
    let mut from = std::io::BufReader::new(from);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && from.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    let mut passed = to.write_all(&head).is_ok();
    let mut met = 0;
    while passed && let Some((opcode, payload)) = frame(&mut from) {
        let text = std::str::from_utf8(&payload).unwrap_or_default();
        let here = opcode == 1 && text.starts_with(fault.begins);
        met += u64::from(here);
        let lies = here && met == fault.nth && told.fetch_add(1, Ordering::Relaxed) < fault.most;
        let texts = if lies { (fault.lie)(text).into_iter().map(String::into_bytes).collect() } else { vec![payload] };
        for payload in texts {
            passed &= to.write_all(&framed(opcode, &payload)).is_ok();
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Opcode and payload of the next frame of a server, which is never masked, and whole.
fn frame(from: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    from.read_exact(&mut head).ok()?;
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            from.read_exact(&mut length).ok()?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            from.read_exact(&mut length).ok()?;
            u64::from_be_bytes(length)
        }
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).ok()?];
    from.read_exact(&mut payload).ok()?;
    Some((head[0] & 0xf, payload))
}

fn framed(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

fn judged(own: &Own, fault: Fault) -> Result<RunResult, String> {
    let mut scenario = Scenario::find("mixed").expect("named");
    let cut = if fault.begins == RESUMED { "cut.share=0.5" } else { "cut.share=0" };
    let small =
        ["users=8", "rooms=2", "rooms_per_user=2", "warmup=100ms", "duration=2s", "patience=15s", "load.rate=300"];
    // What the load itself asks for would be lied about before the end.
    let simple = ["cut.after=300ms", "cut.every=0s", "verbs.rejoin=0", "verbs.resubscribe=0", "verbs.history=0"];
    scenario.set_all(small.into_iter().chain(simple).chain([cut])).expect("fields");
    let told = Arc::new(AtomicU64::new(0));
    let target = Target { addr: liar(own.target.addr, fault, told.clone()), ..own.target.clone() };
    let result = run(&scenario, &target, &mut |_| ControlFlow::Continue(()))?;
    let silent = fault.nth > 0 && told.load(Ordering::Relaxed) == 0;
    if silent { Err("the lie was never told".into()) } else { Ok(result) }
}

#[test]
fn every_lie_is_found_and_the_truth_is_believed() {
    let own = Own::start(Store::Sqlite, &Scenario::find("mixed").expect("named"), Some(2));
    let truth = Fault { name: "the truth", begins: "{", nth: 0, most: 0, lie: |_| vec![] };
    let result = judged(&own, truth).expect("a run");
    assert!(result.passed() && result.counts.acknowledged > 20, "{}", veza_loadtest::report::summary(&result));
    let missed = Mutex::new(Vec::new());
    for some in FAULTS.chunks(5) {
        thread::scope(|scope| {
            for fault in some {
                let (own, missed) = (&own, &missed);
                scope.spawn(move || match judged(own, *fault) {
                    Ok(result) if result.violations.count == 0 => missed.lock().unwrap().push(fault.name.to_owned()),
                    Ok(_) => {}
                    Err(reason) => missed.lock().unwrap().push(format!("{}: {reason}", fault.name)),
                });
            }
        });
    }
    assert_eq!(missed.into_inner().unwrap(), Vec::<String>::new());
}
