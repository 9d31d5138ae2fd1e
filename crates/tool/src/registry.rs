//! The static list of what can be run, and the tools of upstream servers beside it. Nothing is loaded at run time.

use std::sync::Arc;

use crate::Tool;

/// Tools that come and go while a gateway serves. Their names are of a kind of their own: no tool of the list has a dot or
/// a colon in its name.
pub trait Toolbox: Send + Sync {
    /// The tool that answers to a name now.
    fn find(&self, action: &str) -> Option<Arc<dyn Tool>>;
}

/// Every tool of one gateway, in the order of their names.
#[derive(Clone)]
pub struct Registry {
    tools: Arc<[Arc<dyn Tool>]>,
    toolbox: Option<Arc<dyn Toolbox>>,
}

/// Why a list of tools is no registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Two tools answer to one name.
    #[error("two tools are called `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
}

impl Registry {
    /// A registry of these tools.
    ///
    /// # Errors
    /// [`RegistryError::Twice`] if two have one name.
    pub fn new(tools: impl IntoIterator<Item = Box<dyn Tool>>) -> Result<Self, RegistryError> {
        let mut tools: Vec<_> = tools.into_iter().collect();
        tools.sort_by(|a, b| a.name().cmp(b.name()));
        match tools.windows(2).find(|pair| pair[0].name() == pair[1].name()) {
            Some(pair) => Err(RegistryError::Twice { name: pair[0].name().to_owned() }),
            None => Ok(Self { tools: tools.into_iter().map(Arc::from).collect(), toolbox: None }),
        }
    }

    /// The same, with tools that come and go.
    #[must_use]
    pub fn with_toolbox(self, toolbox: Arc<dyn Toolbox>) -> Self {
        Self { toolbox: Some(toolbox), ..self }
    }

    /// The tool that answers to a name: one of the list before all others.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<dyn Tool>> {
        match self.tools.binary_search_by(|tool| tool.name().cmp(name)) {
            Ok(at) => Some(Arc::clone(&self.tools[at])),
            Err(_) => self.toolbox.as_ref()?.find(name),
        }
    }

    /// Every tool of the list, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Tool> {
        self.tools.iter().map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::{Registry, RegistryError};
    use crate::builtin::{HttpClient, Parts, all};
    use crate::{Tool, Workers};

    fn tools() -> Vec<Box<dyn Tool>> {
        all(&Parts { workers: Workers::none(), client: HttpClient::new() })
    }

    #[test]
    fn a_tool_is_found_by_its_name_and_no_other() {
        let registry = Registry::new(tools()).unwrap();
        assert_eq!(registry.find("echo").map(|tool| tool.name().to_owned()), Some("echo".to_owned()));
        assert!(registry.find("Echo").is_none());
    }

    #[test]
    fn two_tools_of_one_name_are_no_registry() {
        let twice = tools().into_iter().chain(tools());
        assert_eq!(Registry::new(twice).err(), Some(RegistryError::Twice { name: "add".to_owned() }));
    }
}
