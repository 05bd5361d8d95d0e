//! The documents are whole, and say what the table says.

use std::collections::BTreeSet;

use serde_json::Value;
use veza_engine::wire::spec::PUSHES;
use veza_engine::wire::{CommandType, ErrorCode};

/// Every `$ref` of a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(target) if name == "$ref" => drop(found.insert(target.clone())),
                    member => references(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn no_reference_leads_nowhere() {
    for document in [super::openapi::document(), super::asyncapi::document()] {
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 5);
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
    }
}

#[test]
fn every_command_is_in_every_document_that_it_belongs_in() {
    let (openapi, asyncapi, html) = (super::openapi::document(), super::asyncapi::document(), super::html::page());
    for kind in CommandType::ALL {
        let name = kind.name();
        let over_http = &openapi["paths"][format!("/api/v1/{name}")]["post"];
        assert_eq!(over_http.is_object(), !kind.connection_only(), "{name}");
        for field in kind.spec().fields {
            if over_http.is_object() {
                let schema = &over_http["requestBody"]["content"]["application/json"]["schema"];
                let required = schema["required"].as_array().is_some_and(|names| names.contains(&field.name.into()));
                assert!(schema["properties"][field.name].is_object(), "{name} {}", field.name);
                assert_eq!(required, field.required, "{name} {}", field.name);
            }
            let payload = &asyncapi["components"]["messages"][format!("command.{name}")]["payload"];
            assert!(payload["properties"]["data"]["properties"][field.name].is_object(), "{name} {}", field.name);
        }
        assert!(asyncapi["operations"][name]["reply"].is_object(), "{name}");
        assert!(html.contains(&format!("id=\"{name}\"")), "{name}");
    }
    for push in &PUSHES {
        assert!(asyncapi["components"]["messages"][format!("push.{}", push.kind)].is_object(), "{}", push.kind);
    }
    assert!(html.contains("<td>moderator</td><td>read send react pin "), "the table of roles");
    for code in ErrorCode::ALL {
        // The `type` of a problem document leads here.
        assert!(html.contains(&format!("id=\"{}\"", code.name())), "{}", code.name());
    }
}

#[test]
fn the_page_is_well_formed() {
    let html = super::html::page();
    for tag in
        ["table", "tr", "td", "th", "p", "h2", "h3", "ul", "li", "code", "pre", "details", "summary", "span", "a"]
    {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    for forbidden in ["<script", "<style", " style=", "http://", "https://"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    let link = |part: &str| part.split('"').next().unwrap().to_owned();
    for target in html.split("href=\"#").skip(1).map(link) {
        assert!(html.contains(&format!("id=\"{target}\"")), "#{target}");
    }
}
