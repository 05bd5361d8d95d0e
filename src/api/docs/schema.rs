//! JSON Schema of the table's shapes.

use serde_json::{Map, Value, json};
use veza_engine::id::ID_MAX;
use veza_engine::wire::ErrorCode;
use veza_engine::wire::spec::{
    BLOCKED, CONVERSATION, EDIT, FieldSpec, GRANT, MEMBER, MESSAGE, NAMED_USER, REACTION, REACTORS, RESUME_POINT,
    RESUMED_ROOM, ROLE, ROOM, SANCTION, SESSION, Shape, Struct, UNREAD_ROOM, USER,
};

const STRUCTS: [&Struct; 17] = [
    &ROOM,
    &MESSAGE,
    &REACTION,
    &REACTORS,
    &NAMED_USER,
    &EDIT,
    &USER,
    &MEMBER,
    &ROLE,
    &SANCTION,
    &BLOCKED,
    &SESSION,
    &UNREAD_ROOM,
    &CONVERSATION,
    &RESUME_POINT,
    &RESUMED_ROOM,
    &GRANT,
];

/// `#/components/schemas/…` of everything that has a name.
pub fn components() -> Map<String, Value> {
    let structs = STRUCTS.iter().map(|object| (object.name.to_owned(), object_schema(object.fields)));
    structs.chain([("Problem".to_owned(), problem()), ("Error".to_owned(), error())]).collect()
}

/// An object with these members; others are ignored.
pub fn object_schema(fields: &[FieldSpec]) -> Value {
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), field_schema(field))).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn field_schema(field: &FieldSpec) -> Value {
    let mut schema = shape_schema(field.shape);
    if field.nullable {
        schema = json!({ "anyOf": [schema, { "type": "null" }] });
    }
    if !field.about.is_empty() {
        schema["description"] = field.about.into();
    }
    schema
}

fn shape_schema(shape: Shape) -> Value {
    match shape {
        Shape::Id => json!({ "type": "integer", "minimum": 1, "maximum": ID_MAX }),
        Shape::Position => json!({ "type": "integer", "minimum": 0, "maximum": ID_MAX }),
        Shape::Int(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Text(most) => json!({ "type": "string", "maxLength": most }),
        Shape::Token(most) => json!({ "type": "string", "maxLength": most }),
        Shape::Word(words) => json!({ "type": "string", "enum": words }),
        Shape::Time => json!({ "type": "string", "format": "date-time" }),
        Shape::Emoji => json!({ "type": "string", "maxLength": 64 }),
        Shape::Scalar => json!({ "type": ["string", "number", "boolean", "null"] }),
        Shape::Object(_) => json!({ "type": "object" }),
        Shape::List(item) => json!({ "type": "array", "items": shape_schema(*item) }),
        Shape::Struct(object) => reference(object.name),
    }
}

/// A reference to a named schema.
pub fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn codes() -> Vec<&'static str> {
    ErrorCode::ALL.iter().map(|code| code.name()).collect()
}

/// RFC 9457.
fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "retryable"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "code": { "type": "string", "enum": codes() },
            "retryable": { "type": "boolean" },
            "retry_after_ms": { "type": "integer", "minimum": 0 },
            "field": { "type": "string" },
            "details": { "type": "object" },
        },
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["code", "message", "retryable"],
        "properties": {
            "code": { "type": "string", "enum": codes() },
            "message": { "type": "string" },
            "retryable": { "type": "boolean" },
            "retry_after_ms": { "type": "integer", "minimum": 0 },
            "field": { "type": "string" },
            "details": { "type": "object" },
        },
    })
}
