package mlflow

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// The messages of model_registry.proto. A time is in milliseconds since 1970.
type (
	wireModel struct {
		Name        string        `json:"name"`
		Created     int64         `json:"creation_timestamp"`
		Updated     int64         `json:"last_updated_timestamp"`
		Description string        `json:"description"`
		Latest      []wireVersion `json:"latest_versions,omitempty"`
		Tags        []wireTag     `json:"tags,omitempty"`
		Aliases     []wireAlias   `json:"aliases,omitempty"`
	}
	wireVersion struct {
		Name          string    `json:"name"`
		Version       string    `json:"version"`
		Created       int64     `json:"creation_timestamp"`
		Updated       int64     `json:"last_updated_timestamp"`
		User          string    `json:"user_id"`
		Stage         Stage     `json:"current_stage"`
		Description   string    `json:"description"`
		Source        string    `json:"source"`
		Run           string    `json:"run_id"`
		Status        string    `json:"status"`
		StatusMessage string    `json:"status_message,omitempty"`
		Tags          []wireTag `json:"tags,omitempty"`
		RunLink       string    `json:"run_link"`
		Aliases       []string  `json:"aliases,omitempty"`
	}
	wireTag struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	wireAlias struct {
		Alias   string `json:"alias"`
		Version string `json:"version"`
	}
	wireFile struct {
		Path string `json:"path"`
		Dir  bool   `json:"is_dir"`
		Size int64  `json:"file_size"`
	}
)

// The prefix of tags that say what millrace knows of a version. They can be searched for, and not be set.
const derivedTag = "millrace."

// statuses of versions: there is none that is not registered yet.
const (
	statusReady  = "READY"
	statusFailed = "FAILED_REGISTRATION"
)

// wire returns the model as a client sees it, with the newest version of each stage.
func (m *Model) wire() wireModel {
	w := wireModel{
		Name: m.Name, Created: m.Created.UnixMilli(), Updated: m.Updated.UnixMilli(), Description: m.Description, Tags: wireTags(m.Tags),
	}
	for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
		w.Aliases = append(w.Aliases, wireAlias{alias, strconv.Itoa(m.Aliases[alias])})
	}
	for _, v := range m.latest(nil) {
		w.Latest = append(w.Latest, m.wireVersion(v))
	}
	return w
}

// latest returns the newest version of each stage, or of those stages alone.
func (m *Model) latest(stages []Stage) (list []*Version) {
	if len(stages) == 0 {
		stages = []Stage{StageNone, StageStaging, StageProduction, StageArchived}
	}
	for _, stage := range stages {
		for i := len(m.Versions) - 1; i >= 0; i-- {
			if m.Versions[i].Stage == stage {
				list = append(list, &m.Versions[i])
				break
			}
		}
	}
	return list
}

// wireVersion returns a version of the model as a client sees it.
func (m *Model) wireVersion(v *Version) wireVersion {
	w := wireVersion{
		Name: m.Name, Version: strconv.Itoa(v.Number), Created: v.Created.UnixMilli(), Updated: v.Updated.UnixMilli(), User: v.By,
		Stage: v.Stage, Description: v.Description, Source: m.source(v), Status: statusReady, Tags: wireTags(m.allTags(v)),
	}
	if v.Problem != "" {
		w.Status, w.StatusMessage = statusFailed, v.Problem
	}
	for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
		if m.Aliases[alias] == v.Number {
			w.Aliases = append(w.Aliases, alias)
		}
	}
	return w
}

// allTags returns the tags of a version with those that are derived.
func (m *Model) allTags(v *Version) map[string]string {
	tags := map[string]string{
		derivedTag + "digest": v.Digest,
		derivedTag + "state":  v.State,
	}
	maps.Copy(tags, v.Tags)
	return tags
}

func wireTags(tags map[string]string) []wireTag {
	var list []wireTag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, wireTag{key, tags[key]})
	}
	return list
}

// source returns where a client fetches the files of a version: from the server that it speaks to.
func (m *Model) source(v *Version) string {
	return fmt.Sprintf("mlflow-artifacts:/%s/%s/%d", artifactRoot, m.Name, v.Number)
}
