//! No wake-up is lost, whatever the timing: consumers that sleep on every chance are never left asleep with something
//! in a queue. A lost wake-up would hang the test (its poller waits without a time limit).

use std::sync::Arc;

use veza_engine::id::ShardId;
use veza_runtime::doorbell::Doorbell;
use veza_runtime::mesh::mesh;
use veza_runtime::poller::Poller;
use veza_runtime::{Inbox, Posted};

const MESSAGES: u64 = 100_000;

fn bell() -> Arc<Doorbell> {
    Arc::new(Doorbell::new().unwrap())
}

/// Blocks until something is ready, as a driver does, and takes it in.
fn sleep(poller: &mut Poller) {
    poller.collect_blocking().unwrap();
    while poller.next_ready().is_some() {}
}

#[test]
fn every_post_of_many_threads_arrives() {
    const THREADS: u64 = 3;
    let bell = bell();
    let inbox = Arc::new(Inbox::new(bell.clone()));
    let producers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let inbox = inbox.clone();
            std::thread::spawn(move || {
                for id in 0..MESSAGES / 10 {
                    let result = Err(veza_engine::store::LoadError::Unavailable);
                    assert!(inbox.post(Posted::Loaded { id: thread << 32 | id, result }).is_ok());
                    if id % 64 == 0 {
                        std::thread::yield_now(); // lets the consumer fall asleep between
                    }
                }
            })
        })
        .collect();
    let mut poller = Poller::new(bell.clone()).unwrap();
    let (mut next, mut sleeps) = ([0; THREADS as usize], 0);
    while next.iter().sum::<u64>() < THREADS * (MESSAGES / 10) {
        while let Some(posted) = inbox.take() {
            let Posted::Loaded { id, .. } = posted else { panic!("nobody posted this") };
            let expected = &mut next[(id >> 32) as usize];
            assert_eq!(id & 0xFFFF_FFFF, *expected, "in the order of its producer, each once");
            *expected += 1;
        }
        bell.announce_sleep();
        if inbox.is_empty() && next.iter().sum::<u64>() < THREADS * (MESSAGES / 10) {
            sleeps += 1;
            sleep(&mut poller);
        }
        bell.awake();
    }
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    assert!(sleeps > 0, "the consumer never slept: nothing was tested");
}

#[test]
fn ping_pong_between_two_sleepers_never_stalls() {
    let bells = [bell(), bell()];
    let ports = mesh::<u64>(&bells, 4);
    let threads: Vec<_> = ports
        .into_iter()
        .zip(bells)
        .enumerate()
        .map(|(me, (mut port, bell))| {
            std::thread::spawn(move || {
                let peer = ShardId(1 - me as u16);
                let mut poller = Poller::new(bell.clone()).unwrap();
                if me == 0 {
                    port.send(peer, 0);
                    port.ring();
                }
                let mut seen = 0;
                while seen < MESSAGES / 5 {
                    while let Some(value) = port.receive(peer) {
                        assert_eq!(value, seen + seen + u64::from(me == 0));
                        seen += 1;
                        port.send(peer, value + 1);
                        port.ring();
                    }
                    bell.announce_sleep();
                    if port.is_empty() && seen < MESSAGES / 5 {
                        sleep(&mut poller);
                    }
                    bell.awake();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_sender_that_sleeps_on_a_full_ring_is_woken_by_the_room() {
    let bells = [bell(), bell()];
    let mut ports = mesh::<u64>(&bells, 8).into_iter();
    let (mut sender, mut receiver) = (ports.next().unwrap(), ports.next().unwrap());
    let [sender_bell, receiver_bell] = bells;
    let (from, to) = (ShardId(0), ShardId(1));
    let consumer = std::thread::spawn(move || {
        let mut poller = Poller::new(receiver_bell.clone()).unwrap();
        let mut next = 0;
        while next < MESSAGES {
            while let Some(value) = receiver.receive(from) {
                assert_eq!(value, next);
                next += 1;
            }
            receiver.made_room(from);
            receiver_bell.announce_sleep();
            if receiver.is_empty() && next < MESSAGES {
                sleep(&mut poller);
            }
            receiver_bell.awake();
        }
    });
    let mut poller = Poller::new(sender_bell.clone()).unwrap();
    let (mut next, mut sleeps) = (0, 0);
    while next < MESSAGES {
        while next < MESSAGES && sender.has_room(to) {
            sender.send(to, next);
            next += 1;
        }
        sender.ring();
        sender_bell.announce_sleep();
        if next < MESSAGES && !sender.has_room(to) {
            sleeps += 1;
            sleep(&mut poller);
        }
        sender_bell.awake();
    }
    consumer.join().unwrap();
    assert!(sleeps > 0, "the ring was never full: nothing was tested");
}
