//! Names what may be asked. In: a method text. Out: a member of a closed enum and the revisions that offer it.
//!
//! What is not listed for a revision is not offered in it, whatever an upstream would do with it.

use super::revision::Revision;

/// Makes one closed enum of wire names, each with the first and last revision that offers it.
macro_rules! vocabulary {
    ($(#[$about:meta])* $name:ident { $($(#[$says:meta])* $variant:ident = $text:literal in $first:ident..=$last:ident,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$says])* $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The one that is written so, exactly.
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// As it is written on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Whether `revision` offers it over HTTP.
            pub fn offered_in(self, revision: Revision) -> bool {
                match self { $(Self::$variant => (Revision::$first..=Revision::$last).contains(&revision),)+ }
            }
        }
    };
}

vocabulary! {
    /// Requests a client sends to a server.
    Method {
        /// Opens a legacy session.
        Initialize = "initialize" in V2024_11_05..=V2025_11_25,
        /// Asks a modern server what it offers.
        Discover = "server/discover" in V2026_07_28..=V2026_07_28,
        /// Asks for a sign of life.
        Ping = "ping" in V2024_11_05..=V2025_11_25,
        /// Lists tools.
        ToolsList = "tools/list" in V2024_11_05..=V2026_07_28,
        /// Calls a tool.
        ToolsCall = "tools/call" in V2024_11_05..=V2026_07_28,
        /// Lists resources.
        ResourcesList = "resources/list" in V2024_11_05..=V2026_07_28,
        /// Lists templates of resource URIs.
        ResourceTemplatesList = "resources/templates/list" in V2024_11_05..=V2026_07_28,
        /// Reads a resource.
        ResourcesRead = "resources/read" in V2024_11_05..=V2026_07_28,
        /// Asks to be told of changes of a resource.
        ResourcesSubscribe = "resources/subscribe" in V2024_11_05..=V2025_11_25,
        /// Ends that.
        ResourcesUnsubscribe = "resources/unsubscribe" in V2024_11_05..=V2025_11_25,
        /// Opens a stream of notifications.
        SubscriptionsListen = "subscriptions/listen" in V2026_07_28..=V2026_07_28,
        /// Lists prompts.
        PromptsList = "prompts/list" in V2024_11_05..=V2026_07_28,
        /// Fills in a prompt.
        PromptsGet = "prompts/get" in V2024_11_05..=V2026_07_28,
        /// Suggests values for an argument.
        Complete = "completion/complete" in V2024_11_05..=V2026_07_28,
        /// Chooses how much the server logs.
        SetLevel = "logging/setLevel" in V2024_11_05..=V2025_11_25,
        /// Asks how a task is; core in 2025-11-25, an extension since.
        TasksGet = "tasks/get" in V2025_11_25..=V2026_07_28,
        /// Waits for the result of a task.
        TasksResult = "tasks/result" in V2025_11_25..=V2025_11_25,
        /// Ends a task.
        TasksCancel = "tasks/cancel" in V2025_11_25..=V2026_07_28,
        /// Answers what a task asked for.
        TasksUpdate = "tasks/update" in V2026_07_28..=V2026_07_28,
        /// Lists tasks.
        TasksList = "tasks/list" in V2025_11_25..=V2025_11_25,
    }
}

vocabulary! {
    /// Notifications a client sends to a server. None is defined over HTTP in 2026-07-28.
    ClientNotification {
        /// The session is open.
        Initialized = "notifications/initialized" in V2024_11_05..=V2025_11_25,
        /// Gives up a request.
        Cancelled = "notifications/cancelled" in V2024_11_05..=V2025_11_25,
        /// How far a server's request has come.
        Progress = "notifications/progress" in V2024_11_05..=V2025_11_25,
        /// The client's roots changed.
        RootsListChanged = "notifications/roots/list_changed" in V2024_11_05..=V2025_11_25,
        /// The state of a task the client runs.
        TasksStatus = "notifications/tasks/status" in V2025_11_25..=V2025_11_25,
    }
}

vocabulary! {
    /// Requests a server sends to a client. In 2026-07-28 none travels by itself, see [`ServerMethod::asked_in_results`].
    ServerMethod {
        /// Asks for a sign of life.
        Ping = "ping" in V2024_11_05..=V2025_11_25,
        /// Asks for a completion by the agent's model.
        CreateMessage = "sampling/createMessage" in V2024_11_05..=V2025_11_25,
        /// Asks the user for data, or to visit a URL.
        Elicit = "elicitation/create" in V2025_06_18..=V2025_11_25,
        /// Asks which folders the client works on.
        RootsList = "roots/list" in V2024_11_05..=V2025_11_25,
        /// Asks how a task the client runs is.
        TasksGet = "tasks/get" in V2025_11_25..=V2025_11_25,
        /// Waits for its result.
        TasksResult = "tasks/result" in V2025_11_25..=V2025_11_25,
        /// Ends it.
        TasksCancel = "tasks/cancel" in V2025_11_25..=V2025_11_25,
        /// Lists the client's tasks.
        TasksList = "tasks/list" in V2025_11_25..=V2025_11_25,
    }
}

vocabulary! {
    /// Notifications a server sends to a client.
    ServerNotification {
        /// Gives up a request of its own.
        Cancelled = "notifications/cancelled" in V2024_11_05..=V2025_11_25,
        /// How far a request has come.
        Progress = "notifications/progress" in V2024_11_05..=V2026_07_28,
        /// A log message.
        Message = "notifications/message" in V2024_11_05..=V2026_07_28,
        /// The tools changed.
        ToolsListChanged = "notifications/tools/list_changed" in V2024_11_05..=V2026_07_28,
        /// The prompts changed.
        PromptsListChanged = "notifications/prompts/list_changed" in V2024_11_05..=V2026_07_28,
        /// The resources changed.
        ResourcesListChanged = "notifications/resources/list_changed" in V2024_11_05..=V2026_07_28,
        /// One resource changed.
        ResourcesUpdated = "notifications/resources/updated" in V2024_11_05..=V2026_07_28,
        /// First on a listening stream: what of the filter is honoured.
        SubscriptionsAcknowledged = "notifications/subscriptions/acknowledged" in V2026_07_28..=V2026_07_28,
        /// A visit to a URL has ended.
        ElicitationComplete = "notifications/elicitation/complete" in V2025_11_25..=V2025_11_25,
        /// The state of a task.
        TasksStatus = "notifications/tasks/status" in V2025_11_25..=V2025_11_25,
        /// The whole of a task (extension).
        Tasks = "notifications/tasks" in V2026_07_28..=V2026_07_28,
    }
}

impl Method {
    /// The member of `params` that `Mcp-Name` repeats (2026-07-28, and the tasks extension).
    pub fn named_by(self) -> Option<&'static str> {
        match self {
            Self::ToolsCall | Self::PromptsGet => Some("name"),
            Self::ResourcesRead => Some("uri"),
            Self::TasksGet | Self::TasksUpdate | Self::TasksCancel => Some("taskId"),
            Self::Initialize | Self::Discover | Self::Ping | Self::ToolsList | Self::ResourcesList => None,
            Self::ResourceTemplatesList | Self::ResourcesSubscribe | Self::ResourcesUnsubscribe => None,
            Self::SubscriptionsListen | Self::PromptsList | Self::Complete | Self::SetLevel => None,
            Self::TasksResult | Self::TasksList => None,
        }
    }

    /// The member of the result that holds the list to filter.
    pub fn list_key(self) -> Option<&'static str> {
        match self {
            Self::ToolsList => Some("tools"),
            Self::ResourcesList => Some("resources"),
            Self::ResourceTemplatesList => Some("resourceTemplates"),
            Self::PromptsList => Some("prompts"),
            Self::TasksList => Some("tasks"),
            Self::Initialize | Self::Discover | Self::Ping | Self::ToolsCall | Self::ResourcesRead => None,
            Self::ResourcesSubscribe | Self::ResourcesUnsubscribe | Self::SubscriptionsListen => None,
            Self::PromptsGet | Self::Complete | Self::SetLevel => None,
            Self::TasksGet | Self::TasksResult | Self::TasksCancel | Self::TasksUpdate => None,
        }
    }

    /// Whether a modern caller must have declared the tasks extension.
    pub fn needs_tasks_extension(self, revision: Revision) -> bool {
        let of_tasks = matches!(self, Self::TasksGet | Self::TasksUpdate | Self::TasksCancel);
        of_tasks && revision.is_modern()
    }
}

impl ServerMethod {
    /// Whether a modern server may ask it inside `inputRequests` of a result.
    pub fn asked_in_results(self) -> bool {
        match self {
            Self::CreateMessage | Self::Elicit | Self::RootsList => true,
            Self::Ping | Self::TasksGet | Self::TasksResult | Self::TasksCancel | Self::TasksList => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Revision::{V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25, V2026_07_28};

    #[test]
    fn a_name_is_known_only_as_it_is_written() {
        for text in ["", "Tools/Call", "tools/call ", "tools\\call", "TOOLS/LIST", "tools/call\0", "skills/list"] {
            assert_eq!(Method::parse(text), None, "{text:?}");
        }
        for method in Method::ALL {
            assert_eq!(Method::parse(method.as_str()), Some(*method));
        }
        for notification in ServerNotification::ALL {
            assert_eq!(ServerNotification::parse(notification.as_str()), Some(*notification));
        }
        assert_eq!(ClientNotification::parse("notifications/message"), None);
        assert_eq!(ServerMethod::parse("tools/call"), None);
    }

    #[test]
    fn a_revision_offers_what_its_schema_lists() {
        let check = |method: Method, offered: &[Revision]| {
            let got: Vec<Revision> =
                Revision::ALL.into_iter().filter(|revision| method.offered_in(*revision)).collect();
            assert_eq!(got, offered, "{}", method.as_str());
        };
        let legacy = [V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25];
        for method in [Method::Initialize, Method::Ping, Method::SetLevel, Method::ResourcesSubscribe] {
            check(method, &legacy);
        }
        for method in [Method::ToolsCall, Method::Complete, Method::ResourceTemplatesList] {
            check(method, &Revision::ALL);
        }
        check(Method::Discover, &[V2026_07_28]);
        check(Method::SubscriptionsListen, &[V2026_07_28]);
        check(Method::TasksGet, &[V2025_11_25, V2026_07_28]);
        check(Method::TasksList, &[V2025_11_25]);
        check(Method::TasksUpdate, &[V2026_07_28]);
        assert!(!ServerMethod::Elicit.offered_in(V2025_03_26) && ServerMethod::Elicit.offered_in(V2025_06_18));
        assert!(ServerMethod::ALL.iter().all(|method| !method.offered_in(V2026_07_28)));
        assert!(ClientNotification::ALL.iter().all(|notification| !notification.offered_in(V2026_07_28)));
        assert!(!ServerNotification::Tasks.offered_in(V2025_11_25));
    }
}
