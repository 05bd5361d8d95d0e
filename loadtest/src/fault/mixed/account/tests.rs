//! A world that is as it should be, and each fault planted in it.

use super::super::ledger::{End, Known};
use super::*;
use crate::frame::Frame;

struct World {
    ledger: Ledger,
    last: Final,
    view: Replica,
    settings: Value,
}

impl World {
    fn message(&mut self, id: u64) -> &mut Value {
        self.last.messages.get_mut(&id).expect("it is there")
    }

    fn violations(&self) -> Violations {
        let mut violations = Violations::default();
        check_messages(&self.ledger, &[poster()], &self.last, &mut violations);
        check_replica(&self.view, std::slice::from_ref(&self.last), &self.settings, &mut violations);
        check_promises(&self.ledger, &self.view, &mut violations);
        violations
    }
}

fn poster() -> Person {
    Person { name: "poster0".into(), token: String::new(), id: 9 }
}

fn object(id: u64, content: &str, parent: Option<u64>) -> Value {
    json!({"message_id": id, "author_id": 9, "content": content, "parent_id": parent, "thread_count": 0, "edit_count": 0,
           "is_deleted": false, "is_pinned": false, "mentions": [], "reactions": []})
}

/// Message 1: edited, reacted to, answered by 2, which mentions and is pinned. Message 7 is deleted.
fn world() -> World {
    let mut ledger = Ledger::default();
    let pushes = [
        ("message", object(1, "a said x", None)),
        ("message", object(2, "b said @poster0", Some(1))),
        ("message_edited", json!({"message_id": 1, "content": "edited y", "edit_count": 1})),
        ("reaction_added", json!({"message_id": 1, "emoji": "👍", "count": 1})),
        ("message_pinned", json!({"message_id": 2})),
        ("room_updated", json!({"room": {"name": "n"}})),
        ("message", object(7, "c said z", None)),
        ("message_deleted", json!({"message_id": 7})),
    ];
    for (client_id, id, content, parent) in
        [("a", 1, "a said x", None), ("b", 2, "b said @poster0", Some(1)), ("c", 7, "c said z", None)]
    {
        let (deleted, pinned) = (Known::sure(false), Known::sure(false));
        let content = content.to_owned();
        let said = Said { room: 1, author: 9, parent, content, id: None, edits: Vec::new(), deleted, pinned };
        ledger.sending(client_id, said);
        ledger.sent(client_id, id, false);
    }
    ledger.edited(1, 1, "edited y", End::Done);
    ledger.reacted((1, 1, 9, "👍"), true, End::Done);
    ledger.pinned(1, 2, true, End::Done);
    ledger.deleted(1, 7, End::Done);
    ledger.promises.push(super::super::ledger::Promise { room: 1, seq: 4, kind: "reaction_added", message: 1 });
    let (mut view, mut violations) = (Replica::begin(1), Violations::default());
    for (index, (kind, data)) in pushes.into_iter().enumerate() {
        view.event(index as u64 + 1, &Frame { kind: kind.into(), id: None, data }, &mut violations);
    }
    assert_eq!(violations.count, 0);
    let mut first = object(1, "edited y", None);
    (first["thread_count"], first["edit_count"]) = (json!(1), json!(1));
    first["reactions"] = json!([{"emoji": "👍", "count": 1}]);
    let mut second = object(2, "b said @poster0", Some(1));
    (second["is_pinned"], second["mentions"]) = (json!(true), json!([9]));
    let mut third = object(7, "", None);
    third["is_deleted"] = json!(true);
    let last = Final { room: 1, head: 8, messages: BTreeMap::from([(1, first), (2, second), (7, third)]) };
    World { ledger, last, view, settings: json!({"name": "n"}) }
}

type Plant = fn(&mut World);

#[test]
fn finds_each_fault_and_nothing_else() {
    let faults: [(&str, Plant); 17] = [
        ("a lost message", |w| drop(w.last.messages.remove(&2))),
        ("a foreign message", |w| drop(w.last.messages.insert(3, object(3, "?", None)))),
        ("a message that was refused", |w| w.ledger.refused.push("b".into())),
        ("a lost edit", |w| w.message(1)["content"] = json!("a said x")),
        ("a wrong count of edits", |w| w.message(1)["edit_count"] = json!(2)),
        ("a lost pin", |w| w.message(2)["is_pinned"] = json!(false)),
        ("a lost reaction", |w| w.message(1)["reactions"] = json!([])),
        ("a lost mention", |w| w.message(2)["mentions"] = json!([])),
        ("a lost answer", |w| w.message(1)["thread_count"] = json!(0)),
        ("an answer elsewhere", |w| w.message(2)["parent_id"] = json!(7)),
        ("another author", |w| w.message(2)["author_id"] = json!(8)),
        ("a deletion undone", |w| w.message(7)["is_deleted"] = json!(false)),
        ("content of what is deleted", |w| w.message(7)["content"] = json!("c said z")),
        ("another state in a reader", |w| w.view.messages.get_mut(&1).unwrap().content = "edited".into()),
        ("a reader that was not told", |w| drop(w.view.messages.remove(&2))),
        ("another event in that place", |w| drop(w.view.log.insert(4, ("void".into(), 0)))),
        ("other settings", |w| w.settings["name"] = json!("m")),
    ];
    assert_eq!(world().violations().first, Vec::<String>::new());
    for (name, plant) in faults {
        let mut world = world();
        plant(&mut world);
        assert!(world.violations().count > 0, "{name} was not found");
    }
}

#[test]
fn what_has_no_answer_may_be_so_or_so() {
    let mut open = world();
    open.ledger.pinned(1, 2, false, End::Unknown);
    open.ledger.edited(1, 1, "edited w", End::Unknown);
    open.ledger.reacted((1, 1, 9, "🤔"), true, End::Unknown);
    assert_eq!(open.violations().first, Vec::<String>::new());
    (open.message(1)["content"], open.message(1)["edit_count"]) = (json!("edited w"), json!(2));
    open.message(1)["reactions"] = json!([{"emoji": "👍", "count": 1}, {"emoji": "🤔", "count": 1}]);
    let seen = Shown::read(open.message(1));
    open.view.messages.insert(1, seen);
    assert_eq!(open.violations().first, Vec::<String>::new());
}
