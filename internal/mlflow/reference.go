package mlflow

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Reference says which version of which model on which server.
type Reference struct {
	URL     string // of the server, http or https, with the path that it is below, without a slash at the end
	Model   string
	Version int    // 0: what Alias stands for
	Alias   string // "" where Version is 0 too: the newest version
}

const (
	schemeHTTP   = "mlflow://"
	schemeHTTPS  = "mlflow+https://"
	schemeModels = "models:/"
	maxReference = 2000 // bytes
)

// IsReference tells whether a text is meant to be the reference to a model of an MLflow server.
func IsReference(text string) bool {
	return strings.HasPrefix(text, schemeHTTP) || strings.HasPrefix(text, schemeHTTPS) || strings.HasPrefix(text, schemeModels)
}

// ParseReference reads the reference to a model: mlflow://HOST[:PORT]/MODEL, with /VERSION or @ALIAS behind it, mlflow+https:// for an
// encrypted connection, or models:/MODEL of the server at the URL tracking. Its errors hold nothing of the server's address, since people
// write passwords into addresses.
func ParseReference(text, tracking string) (Reference, error) {
	if len(text) > maxReference || !utf8.ValidString(text) {
		return Reference{}, errors.New("it is too long, or not UTF-8")
	}
	scheme, rest := "http://", strings.TrimPrefix(text, schemeHTTP)
	switch {
	case strings.HasPrefix(text, schemeModels):
		return parseModels(strings.TrimLeft(strings.TrimPrefix(text, schemeModels), "/"), tracking)
	case strings.HasPrefix(text, schemeHTTPS):
		scheme, rest = "https://", strings.TrimPrefix(text, schemeHTTPS)
	}
	host, path, ok := strings.Cut(rest, "/")
	if !ok || host == "" {
		return Reference{}, errors.New("it names no model: write mlflow://HOST/MODEL/VERSION or mlflow://HOST/MODEL@ALIAS")
	}
	return parseModels(path, scheme+host)
}

// parseModels reads what follows the server.
func parseModels(path, server string) (r Reference, err error) {
	u, err := url.Parse(server)
	switch {
	case server == "":
		return r, errors.New("the server is not known: set MLFLOW_TRACKING_URI, or write mlflow://HOST/MODEL")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return r, errors.New("the address of the server is none of the form http://HOST:PORT or https://HOST:PORT")
	case u.User != nil:
		return r, errors.New("the address of the server holds a user or a password: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(server, "#"):
		return r, errors.New("the address of the server has a query or a fragment")
	}
	r.URL = strings.TrimSuffix(server, "/")
	name, alias, aliased := strings.Cut(path, "@")
	name, version, versioned := strings.Cut(name, "/")
	switch {
	case aliased && (versioned || alias == "" || strings.ContainsAny(alias, "/@")):
		return r, errors.New("what follows the model is @ALIAS or /VERSION")
	case aliased:
		r.Alias = alias
	case versioned && version == "latest": // the newest, as MLflow has it
	case versioned:
		if r.Version, err = strconv.Atoi(version); err != nil || r.Version < 1 || strconv.Itoa(r.Version) != version {
			return r, errors.New("the version is a whole number from 1; what follows the model is @ALIAS or /VERSION")
		}
	}
	if r.Model, err = url.PathUnescape(name); err != nil || !plainName(r.Model) || !plainName(r.Alias+"x") {
		return r, errors.New("the model or the alias holds what no name has")
	}
	return r, nil
}

// plainName tells whether a name, of a model that is not millrace's, can be shown and asked for.
func plainName(s string) bool {
	const most = 256
	return s != "" && len(s) <= most && utf8.ValidString(s) && !strings.ContainsAny(s, "/:'\"`\\") &&
		!strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsGraphic(c) })
}
