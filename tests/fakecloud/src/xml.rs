//! Just enough XML to answer as the query protocols do.

use std::fmt::Display;

/// An XML document that grows. An absent value leaves no element behind.
#[derive(Default)]
pub(crate) struct Xml {
    text: String,
}

impl Xml {
    /// A document of one element in a namespace.
    pub(crate) fn document(root: &str, namespace: &str, inside: impl FnOnce(&mut Xml)) -> String {
        let mut xml = Xml { text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".into() };
        let attribute = if namespace.is_empty() { String::new() } else { format!(" xmlns=\"{namespace}\"") };
        xml.text.push_str(&format!("<{root}{attribute}>"));
        inside(&mut xml);
        xml.text.push_str(&format!("</{root}>"));
        xml.text
    }

    /// An element with elements in it.
    pub(crate) fn nest(&mut self, name: &str, inside: impl FnOnce(&mut Xml)) {
        self.text.push_str(&format!("<{name}>"));
        inside(self);
        self.text.push_str(&format!("</{name}>"));
    }

    /// An element that holds a value.
    pub(crate) fn value(&mut self, name: &str, value: impl Display) {
        self.text.push_str(&format!("<{name}>{}</{name}>", escape(&value.to_string())));
    }

    /// An element that is there only when the value is.
    pub(crate) fn maybe(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.value(name, value);
        }
    }

    /// A list: each thing in an element of its own, called `item` by EC2 and `member` by others.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        item: &str,
        things: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Xml, T),
    ) {
        self.nest(name, |xml| {
            for thing in things {
                xml.nest(item, |xml| each(xml, thing));
            }
        });
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_absent_ones_leave_nothing() {
        let text = Xml::document("a", "urn:x", |xml| {
            xml.maybe("no", None::<&str>);
            xml.list("set", "item", ["<&>"], |xml, text| xml.value("v", text));
        });
        let body = text.lines().nth(1).unwrap();
        assert_eq!(body, r#"<a xmlns="urn:x"><set><item><v>&lt;&amp;&gt;</v></item></set></a>"#);
    }
}
