//! A frame costs allocations only for what its command keeps.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use veza_engine::wire::parse::Parser;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn only_what_a_command_keeps_is_allocated() {
    let send = r#"{"type":"send_message","id":17,"data":{"room_id":5,"content":"a \"quoted\" line"}}"#;
    let keyed = r#"{"type":"send_message","id":17,"data":{"room_id":5,"content":"x","client_id":"k"}}"#;
    let mut parser = Parser::new();
    for (text, expected) in [
        // The id is formatted and then kept at its exact length.
        (r#"{"type":"get_unread","id":1}"#, 2),
        (r#"{"type":"get_room","data":{"room_id":5}}"#, 0),
        // The command and its content; then its client_id.
        (send, 2 + 2),
        (keyed, 2 + 3),
    ] {
        assert!(parser.parse(text.as_bytes()).command.is_ok(), "warms the buffers up");
        let before = ALLOCATIONS.with(Cell::get);
        let parsed = parser.parse(text.as_bytes());
        let after = ALLOCATIONS.with(Cell::get);
        assert!(parsed.command.is_ok());
        assert_eq!(after - before, expected, "{text}");
    }
}
