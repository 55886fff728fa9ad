//! Builds engines. In: rules, catalogues, the registry's agents; perhaps the engine before. Out: an engine, or every finding. Never here: decisions.

use std::hash::Hash;
use std::sync::{Arc, OnceLock};

use cedar_policy::EntityTypeName;

use super::{Engine, Inputs, Origin, Prepared, Server};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::check::KnownNames;
use crate::policy::facts::{self, Standing};
use crate::policy::index::{self, AgentSource};
use crate::policy::load;
use crate::policy::made::Store;
use crate::policy::oblige;
use crate::policy::result;
use crate::policy::spread::Spread;
use crate::policy::surface::{Column, Digest, ServerSource, Surface};

/// What an engine keeps for the one that comes after it: what was worked out from contents and holds for as long as these.
#[derive(Debug, Default)]
pub(super) struct Kept {
    load: load::Known,
    made: Store,
}

impl Engine {
    /// Loads, checks and indexes; a load that fails gives every finding and no engine.
    pub fn build(inputs: Inputs<'_>) -> Result<Self, Diagnostics> {
        Self::build_after(inputs, None, Spread::ALONE)
    }

    /// The same, reusing what an earlier engine worked out wherever it still holds. What comes of it decides, says and names exactly as one that
    /// is built from nothing.
    pub fn build_after(inputs: Inputs<'_>, earlier: Option<&Self>, spread: Spread) -> Result<Self, Diagnostics> {
        let nothing = Kept::default();
        let kept = earlier.map_or(&nothing, |earlier| &earlier.kept);
        let sources: Vec<ServerSource<'_>> = inputs.servers.iter().map(|(server, _)| *server).collect();
        let surface = Surface::build(&sources, inputs.settings_file)?;
        let mut names = KnownNames::default();
        for agent in inputs.agents {
            names.agents.insert(agent.id);
            names.groups.extend(&agent.groups);
        }
        names.calendars.extend(inputs.calendars.names());
        let loaded = load::load_after(inputs.sources, (&surface, &names), &kept.load, spread)?;
        let built = index::build(&loaded.rules, inputs.agents, &surface, &kept.made);
        let (index, made) = built.map_err(|finding| vec![finding])?;
        let columns = prepared(&surface);
        let agents = facts::type_name("Agent").zip(facts::type_name("Group"));
        let agents = agents.map(|types| inputs.agents.iter().map(|agent| standing(agent, &types)).collect());
        let (Some(columns), Some(agents)) = (columns, agents) else {
            return Err(vec![Diagnostic::error(
                inputs.settings_file,
                None,
                "the names of agents, servers and tools cannot be told to Cedar",
            )]);
        };
        let obligations = oblige::Table::of(&loaded.rules, surface.columns.len());
        let results = result::Table::of(&loaded.rules, surface.columns.len());
        let origins = loaded.rules.into_iter().map(|rule| Origin {
            id: rule.parsed.id,
            file: rule.parsed.file,
            line: rule.parsed.line,
            content: rule.parsed.content,
        });
        let servers = inputs
            .servers
            .iter()
            .map(|(server, drift)| Server { drift: Arc::clone(drift), catalogue: server.catalogue.clone() });
        Ok(Self {
            hash: hash(&inputs, &surface),
            columns,
            calendars: inputs.calendars.clone(),
            agents,
            index,
            origins: origins.collect(),
            obligations,
            results,
            warnings: loaded.warnings,
            servers: servers.collect(),
            undeclared: surface.columns.iter().map(|column| column.input.undeclared).collect(),
            whole: OnceLock::new(),
            surface,
            kept: Kept { load: loaded.known, made },
        })
    }
}

fn prepared(surface: &Surface) -> Option<Vec<Prepared>> {
    let (action, server) = (facts::type_name("Action")?, facts::type_name("Server")?);
    let of = |column: &Column| {
        let face = surface.faces.get(usize::from(column.server.0))?;
        Some(Prepared {
            action: facts::typed(&action, &column.action),
            groups: column.groups.iter().map(|group| facts::typed(&action, group)).collect(),
            resource: facts::typed(&server, &face.name),
        })
    };
    surface.columns.iter().map(of).collect()
}

fn standing(agent: &AgentSource<'_>, (own, group): &(EntityTypeName, EntityTypeName)) -> Standing {
    Standing {
        uid: facts::typed(own, agent.id),
        groups: agent.groups.iter().map(|name| facts::typed(group, name)).collect(),
        accounts: agent.accounts.iter().map(|account| Box::from(*account)).collect(),
    }
}

fn hash(inputs: &Inputs<'_>, surface: &Surface) -> [u8; 32] {
    let mut digest = Digest::default();
    for source in inputs.sources {
        (source.file, source.text).hash(&mut digest);
    }
    inputs.sources.len().hash(&mut digest);
    for (server, _) in inputs.servers {
        server.name.hash(&mut digest);
        server.catalogue.tools().len().hash(&mut digest);
        server.catalogue.tools().iter().for_each(|tool| tool.pin.to_string().hash(&mut digest));
    }
    for agent in inputs.agents {
        (agent.id, &agent.groups, &agent.accounts).hash(&mut digest);
    }
    (surface.whole(), inputs.calendars.canonical()).hash(&mut digest);
    digest.bytes()
}
