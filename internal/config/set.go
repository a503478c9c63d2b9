package config

import (
	"fmt"
	"slices"
	"strings"
)

// override applies the overrides to the file's nodes, in order: from here on they are values of the file whose
// places are in the override.
func (d *decoder) override(root *node, set []string) {
	for i, text := range set {
		src := newSource(fmt.Sprintf("--set #%d", i+1), i+1, text)
		before := len(d.ps.list)
		src.checkText(d.ps)
		if len(d.ps.list) > before {
			continue
		}
		path, _, ok := strings.Cut(text, "=")
		if !ok || strings.TrimSpace(path) == "" {
			d.ps.add(src, 0, len(text), "an override is key=value", "such as train.gbm.ntrees=200")
			continue
		}
		d.apply(root, src, path)
	}
}

// apply sets the value behind path= in src, or takes the path out where the value is empty.
func (d *decoder) apply(root *node, src *source, path string) {
	text := src.text[len(path)+1:]
	value := &node{src: src, start: len(path) + 1 + blankRun(text), yaml: strings.TrimSpace(text), typed: true}
	keys, ok := d.keyPath(src, path, value)
	switch {
	case !ok:
		return
	case value.yaml == "":
		root.remove(keys)
		return
	}
	n := root
	for _, k := range keys[:len(keys)-1] {
		n = n.child(k)
	}
	n.put(keys[len(keys)-1], value)
}

// keyPath splits the path of an override into its keys; ok is false where they lead to no value, which is reported.
func (d *decoder) keyPath(src *source, path string, value *node) (keys []*node, ok bool) {
	fields, done, at := pipelineFields(), "", 0
	for {
		key, rest, more := strings.Cut(path[at:], ".")
		k := &node{src: src, start: at, yaml: key, typed: true}
		keys = append(keys, k)
		f := findField(fields, key)
		if f == nil {
			d.unknownKeys(&node{kind: mappingNode, src: src, pairs: []pair{{k, value}}}, done, fields)
			return nil, false
		}
		done = join(done, key)
		at += len(key) + 1
		switch {
		case f.kind == kindNamed && more && f.item.kind == kindMapping:
			name, _, deeper := strings.Cut(rest, ".")
			k := &node{src: src, start: at, yaml: name, typed: true}
			keys = append(keys, k)
			done = join(done, name)
			if at += len(name) + 1; !deeper {
				d.report(k, done+" is a mapping: an override sets one key of it", fmt.Sprintf("such as %s.%s=...", done, f.item.fields[0].key))
				return nil, false
			}
			fields = f.item.fields
		case f.kind == kindNamed && more:
			return append(keys, &node{src: src, start: at, yaml: rest, typed: true}), true
		case f.kind == kindMapping && more:
			fields = f.fields
		case f.kind == kindMapping:
			d.report(k, done+" is a mapping: an override sets one key of it", fmt.Sprintf("such as %s.%s=...", done, f.fields[0].key))
			return nil, false
		case f.kind == kindNamed:
			d.report(k, done+" is a mapping: an override sets one name of it", fmt.Sprintf("such as %s.NAME=...", done))
			return nil, false
		case more:
			d.ps.add(src, at, len(path), done+" has no keys below it", "")
			return nil, false
		default:
			return keys, true
		}
	}
}

func findField(fields []field, key string) *field {
	for i := range fields {
		if fields[i].key == key {
			return &fields[i]
		}
	}
	return nil
}

// child returns the mapping under key in n, which it adds where there is none. What is no mapping stays, with its
// problem: then the override goes to a mapping that nobody reads.
func (n *node) child(key *node) *node {
	p := n.get(key.yaml)
	if p == nil {
		n.pairs = append(n.pairs, pair{key, &node{kind: mappingNode, src: key.src, start: key.start}})
		return n.pairs[len(n.pairs)-1].value
	}
	if p.value.kind == scalarNode && p.value.null {
		*p.value = node{kind: mappingNode, src: p.value.src, start: p.value.start}
	}
	return p.value
}

// put sets key in mapping n to value.
func (n *node) put(key, value *node) {
	if p := n.get(key.yaml); p != nil {
		*p = pair{key, value}
		return
	}
	n.pairs = append(n.pairs, pair{key, value})
}

// remove takes the path of keys out of n.
func (n *node) remove(keys []*node) {
	for i := range n.pairs {
		p := &n.pairs[i]
		if p.key.yaml != keys[0].yaml {
			continue
		}
		if len(keys) > 1 {
			p.value.remove(keys[1:])
			return
		}
		n.pairs = slices.Delete(n.pairs, i, i+1)
		return
	}
}
