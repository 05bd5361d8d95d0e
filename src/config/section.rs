//! What a section of the configuration is: a struct whose fields, defaults, bounds and meanings stand in one place
//! (`schema.rs`), from which reading, checking, suggestions and `default-config` all follow.

use super::value::Given;

/// A setting as `default-config` prints it.
pub struct Setting {
    /// Its name within the section.
    pub name: &'static str,
    /// Its meaning, line by line.
    pub doc: &'static [&'static str],
    /// Its value as TOML.
    pub value: String,
}

/// A section of settings.
pub trait Section {
    /// Its name in TOML.
    fn name(&self) -> &'static str;
    /// Its meaning, line by line.
    fn doc(&self) -> &'static [&'static str];
    /// The names of its settings.
    fn names(&self) -> &'static [&'static str];
    /// Every setting with its present value.
    fn settings(&self) -> Vec<Setting>;
    /// Sets one; `None` if there is none of this name.
    fn set(&mut self, name: &str, given: &Given) -> Option<Result<(), String>>;
}

/// Declares a section: documented fields with type, default and, where they have one, range (durations: ms).
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $Section:ident = $section:literal {
            $( $(#[doc = $doc:literal])+ $name:ident: $ty:ty = $default:expr $(, in $range:expr)?; )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $Section { $( $(#[doc = $doc])+ pub $name: $ty, )+ }

        impl Default for $Section {
            fn default() -> Self {
                $Section { $( $name: $default, )+ }
            }
        }

        impl $crate::config::section::Section for $Section {
            fn name(&self) -> &'static str {
                $section
            }

            fn doc(&self) -> &'static [&'static str] {
                &[$($about),+]
            }

            fn names(&self) -> &'static [&'static str] {
                &[$(stringify!($name)),+]
            }

            fn settings(&self) -> Vec<$crate::config::section::Setting> {
                vec![$( $crate::config::section::Setting {
                    name: stringify!($name),
                    doc: &[$($doc),+],
                    value: $crate::config::value::Value::write(&self.$name),
                } ),+]
            }

            fn set(&mut self, name: &str, given: &$crate::config::value::Given) -> Option<Result<(), String>> {
                match name {
                    $( stringify!($name) => {
                        #[allow(unused_mut, unused_assignments)]
                        let mut range: $crate::config::value::Range = None;
                        $( range = Some($range); )?
                        Some($crate::config::value::Value::read(given, &range).map(|value| self.$name = value))
                    } )+
                    _ => None,
                }
            }
        }
    };
}
pub(super) use section;
