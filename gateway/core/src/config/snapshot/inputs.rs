//! Lends what rules are loaded with, for rules that do not serve: to prove, to compare. In: a snapshot, rules. Out: the inputs of an engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{SETTINGS_FILE, Snapshot, Text, gather};
use crate::policy::drift::Drift;
use crate::policy::engine::Inputs;
use crate::policy::index::AgentSource;
use crate::policy::source::Source;
use crate::policy::surface::{ServerSource, ToolRules};

impl Snapshot {
    /// Calls `then` with `rules` over the servers, tools and agents of this snapshot; no tool counts as drifted.
    pub fn with_inputs<T>(&self, rules: &[Text], then: impl FnOnce(Inputs<'_>) -> T) -> T {
        let routes = &self.shape.routes;
        let tools: Vec<BTreeMap<Box<str>, ToolRules>> = (self.settings.servers.iter().zip(routes))
            .map(|(server, route)| if route.learned { gather::tool_rules(server) } else { BTreeMap::new() })
            .collect();
        let parts = self.settings.servers.iter().zip(&self.shape.catalogues).zip(&tools);
        let servers: Vec<(ServerSource<'_>, Arc<Drift>)> = parts
            .map(|((server, catalogue), tools)| {
                let source =
                    ServerSource { name: &server.name, catalogue, tools, extension_methods: &server.extension_methods };
                (source, Arc::new(Drift::new(catalogue)))
            })
            .collect();
        let sources: Vec<Source<'_>> = rules.iter().map(|text| Source { file: &text.file, text: &text.text }).collect();
        let agents = AgentSource::of_registry(&self.registry);
        then(Inputs {
            sources: &sources,
            servers: &servers,
            agents: &agents,
            calendars: self.engine.calendars(),
            settings_file: SETTINGS_FILE,
        })
    }
}
