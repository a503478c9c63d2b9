package mlflow

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The files of a version, as a client sees them: models/NAME/VERSION/MLmodel and models/NAME/VERSION/NAME.millrace.
const (
	artifactRoot = "models"
	modelFile    = "MLmodel"
	extension    = ".millrace"
)

// Flavor is the name of the flavor of MLflow that a bundle is.
const Flavor = "millrace"

// parsePath reads the path of a version, or of a file of one.
func parsePath(path string) (name string, version int, file string, err error) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) == 3 || len(parts) == 4 {
		n, err := strconv.Atoi(parts[2])
		if parts[0] == artifactRoot && parts[1] != "" && err == nil && n > 0 && strconv.Itoa(n) == parts[2] {
			if len(parts) == 4 {
				file = parts[3]
			}
			return parts[1], n, file, nil
		}
	}
	return "", 0, "", failed(Missing, "there is no %.100q; the files of a version are in %s/NAME/VERSION", path, artifactRoot)
}

// find returns the version that a path leads to.
func (s *Server) find(ctx context.Context, path string) (m *Model, v *Version, file string, err error) {
	name, n, file, err := parsePath(path)
	if err != nil {
		return nil, nil, "", err
	}
	number := strconv.Itoa(n)
	m, v, err = s.version(ctx, &request{Name: &name, Version: &number})
	return m, v, file, err
}

func (m *Model) bundleFile() string { return m.Name + extension }

// mlmodel returns the file that says what the others are.
func (m *Model) mlmodel(v *Version) []byte {
	// It is YAML; names, digests and times need no quotes but those that keep a time from being read as one.
	return fmt.Appendf(nil, `flavors:
  %s:
    bundle: %s
    digest: %s
    model: %s
    version: %d
model_size_bytes: %d
utc_time_created: '%s'
`, Flavor, m.bundleFile(), v.Digest, m.Name, v.Number, v.Bytes, v.Created.UTC().Format("2006-01-02 15:04:05.000000"))
}

// listFiles answers which files a version has. A file has none below it, and so has the list of one.
func (s *Server) listFiles(ctx context.Context, r *request) (any, error) {
	m, v, file, err := s.find(ctx, or(r.Path))
	if err != nil {
		return nil, err
	}
	files := []wireFile{}
	if file == "" {
		files = []wireFile{{Path: modelFile, Size: int64(len(m.mlmodel(v)))}, {Path: m.bundleFile(), Size: v.Bytes}}
	}
	return struct {
		Files []wireFile `json:"files"`
	}{files}, nil
}

// sendFile sends a file of a version.
func (s *Server) sendFile(w http.ResponseWriter, req *http.Request) {
	ctx := req.Context()
	m, v, file, err := s.find(ctx, req.PathValue("path"))
	if err != nil {
		s.refuse(w, req, err)
		return
	}
	var data []byte
	switch file {
	case modelFile:
		data = m.mlmodel(v)
	case m.bundleFile():
		if v.Problem != "" {
			s.refuse(w, req, failed(Missing, "%s", v.Problem))
			return
		}
		select { // a bundle is in memory while it is sent
		case s.bundles <- struct{}{}:
			defer func() { <-s.bundles }()
		case <-ctx.Done():
			s.refuse(w, req, failed(Unavailable, "too many bundles are being fetched: try again"))
			return
		}
		if data, err = s.store.Bundle(ctx, m.Name, v.Number); err != nil {
			s.refuse(w, req, err)
			return
		}
	default:
		s.refuse(w, req, failed(Missing, "%s@%d has no file %.100q; it has %s and %s", m.Name, v.Number, file, modelFile, m.bundleFile()))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", "attachment; filename="+file)
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(data))
}

// keepFiles refuses to change files.
func (s *Server) keepFiles(w http.ResponseWriter, req *http.Request) {
	s.refuse(w, req, failed(PermissionDenied, "the files of a version are written once, with millrace train or millrace model import"))
}
