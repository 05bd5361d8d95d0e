//! `/capacity` as OpenAPI 3.1.

use serde_json::{Map, Value, json};

/// Parameter, whether a question must have it, meaning.
const PARAMETERS: [(&str, bool, &str); 5] = [
    ("connections", true, "Connections, all online."),
    ("rooms", true, "Rooms in use."),
    ("members_per_room", true, "Connections subscribed to each room; not more than there are connections."),
    ("messages_per_s", true, "Durable messages a second, of all together; may have a fraction."),
    (
        "after_s",
        false,
        "Seconds of this load after which memory is wanted; without it, when recent events have filled.",
    ),
];

/// Members of the answer: a path of names, the type, the meaning. A test holds them against a real answer.
pub const MEMBERS: [(&str, &str, &str); 54] = [
    ("window.seconds", "number", "Time that was learnt from, at most ten minutes."),
    ("window.samples", "integer", "Samples in it, one every five seconds."),
    ("window.events", "number", "Durable messages (and other events) in it."),
    ("window.origin", "string", "`measured`, or `default` where there was too little traffic to learn from."),
    ("now.connections", "number", "Open WebSocket connections; `now` is the last ten seconds."),
    ("now.rooms", "number", "Rooms in memory."),
    ("now.subscriptions", "number", "Subscriptions of connections to rooms."),
    ("now.messages_per_s", "number", "Events committed a second."),
    ("now.deliveries_per_s", "number", "Pushes of events a second."),
    ("now.cores", "number", "CPU seconds per second of all threads of this process."),
    ("now.busiest_shard", "number", "The same of the busiest shard's thread."),
    ("now.memory_bytes", "number", "Resident memory."),
    ("now.file_descriptors", "number", "Open descriptors."),
    ("now.transactions_per_s", "number", "Transactions of the database a second."),
    ("now.rows_per_s", "number", "Operations in them a second."),
    ("limits.shards", "number", "Shards, each on one core."),
    ("limits.cores", "number", "Cores that the process may use."),
    ("limits.memory_bytes", "number", "Memory that it may use."),
    ("limits.memory_source", "string", "Where that bound comes from."),
    ("limits.file_descriptors", "number", "Descriptors that it may open."),
    ("limits.rows_per_s", "number", "Operations a second that the database is expected to take."),
    ("limits.cpu_full", "number", "Fraction at which a core counts as full."),
    ("costs.connection_bytes", "figure", "Memory of a connection in one room."),
    ("costs.connection_cpu", "figure", "CPU of an idle connection."),
    ("costs.delivery_cpu", "figure", "CPU of a delivery, as they share writes now."),
    (
        "costs.durable_message_cpu",
        "figure",
        "CPU of a durable message without its deliveries, as they share transactions now.",
    ),
    ("costs.join_cpu", "figure", "CPU of joining or resuming a room."),
    ("costs.connect_cpu", "figure", "CPU of a connection's beginning and end."),
    ("costs.room_bytes", "figure", "Memory of a room without its recent events."),
    ("parts", "array", "The model: what each part of the work costs, its default, how often it was seen."),
    ("headroom.connections", "room", "Further connections, idle but for heartbeats."),
    ("headroom.sends_per_s", "room", "Further sends a second, into rooms as they are now."),
    ("headroom.deliveries_per_s", "room", "The deliveries that these make."),
    ("assumptions", "array", "What the answer rests on, in words."),
    ("series", "array", "The samples, oldest first, each with its length and rates."),
    ("plan.asked", "object", "The question."),
    ("plan.cores.used", "number", "CPU seconds per second of all threads."),
    ("plan.cores.shards", "number", "Of them the shards'."),
    ("plan.cores.store", "number", "Of them the store's threads'."),
    ("plan.cores.other", "number", "Of them all others'."),
    ("plan.cores.busiest_shard", "number", "Of the busiest shard alone."),
    ("plan.cores.provide", "number", "Whole cores to provide."),
    ("plan.memory.used", "number", "Resident memory, bytes."),
    ("plan.memory.provide", "number", "Memory to provide, bytes."),
    ("plan.file_descriptors.used", "number", "Open descriptors."),
    ("plan.file_descriptors.provide", "number", "Descriptors to allow."),
    ("plan.database.transactions_per_s", "number", "Transactions a second."),
    ("plan.database.rows_per_s", "number", "Operations in them a second."),
    ("plan.database.rows_per_transaction", "number", "Operations in one transaction."),
    ("plan.deliveries_per_s", "number", "Pushes a second."),
    ("plan.fits_here", "boolean", "Whether this server could carry it."),
    ("plan.lacking", "array", "What is too small here."),
    ("plan.origin", "string", "`measured` or `default`."),
    ("plan.assumptions", "array", "What the plan rests on, in words."),
];

/// The operation.
pub fn operation() -> Value {
    let parameter = |(name, required, about): (&str, bool, &str)| {
        json!({
            "name": name,
            "in": "query",
            "required": false,
            "schema": { "type": "number", "minimum": 0 },
            "description": if required { format!("{about} A question has all four.") } else { about.to_owned() },
        })
    };
    json!({
        "summary": "What connections, deliveries, messages and joins cost, what still fits, and what a planned load needs.",
        "security": [],
        "parameters": PARAMETERS.map(parameter),
        "responses": {
            "200": {
                "description": "Learnt from the last minutes; with parameters also the plan. `/capacity/page` draws it.",
                "content": { "application/json": { "schema": schema() } },
            },
            "400": {
                "description": "INVALID_REQUEST, with the parameter as `field`.",
                "content": { "application/problem+json": { "schema": super::schema::reference("Problem") } },
            },
        },
    })
}

fn schema() -> Value {
    let mut root = json!({ "type": "object", "properties": {} });
    for (path, kind, about) in MEMBERS {
        let mut at = &mut root;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let properties = at["properties"].as_object_mut().expect("objects are made with properties");
            let member =
                properties.entry(name).or_insert_with(|| json!({ "type": "object", "properties": Map::new() }));
            if names.peek().is_none() {
                *member = kind_schema(kind);
                member["description"] = about.into();
            }
            at = member;
        }
    }
    root
}

fn kind_schema(kind: &str) -> Value {
    match kind {
        "figure" => object(&[("value", "number"), ("unit", "string"), ("origin", "string")]),
        "room" => object(&[("more", "number"), ("first", "string"), ("by_resource", "array")]),
        kind => json!({ "type": kind }),
    }
}

fn object(members: &[(&str, &str)]) -> Value {
    let properties: Map<String, Value> =
        members.iter().map(|(name, kind)| ((*name).to_owned(), json!({ "type": kind }))).collect();
    json!({ "type": "object", "properties": properties })
}
