package objects

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Address is where a bucket is.
type Address struct {
	Bucket string
	// Prefix begins the name of every object, and ends in a slash; it may be empty.
	Prefix string
	// Endpoint is the server as https://HOST[:PORT], or http:// for one that has no TLS. Default: what the environment
	// variables AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL name, else Amazon's.
	Endpoint string
	// Region is that of the bucket. Default: what the environment variables AWS_REGION or AWS_DEFAULT_REGION name,
	// else the server is asked.
	Region string
}

// IsAddress tells whether a location is an address rather than the path of a folder.
func IsAddress(location string) bool { return strings.Contains(location, "://") }

const addressForm = "write the path of a folder, or s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=REGION, of which all but the bucket can be left out"

// ParseAddress reads s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=REGION. Credentials do not belong in it: no
// error shows what stands in their place. An error matches [ErrSetup].
func ParseAddress(location string) (Address, error) {
	scheme, rest, _ := strings.Cut(location, "://")
	if strings.Contains(rest, "@") { // also where the rest is nothing that can be parsed
		return Address{}, setupError("leave them out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to ~/.aws/credentials",
			"the location of the registry holds credentials")
	}
	if scheme != "s3" {
		return Address{}, setupError(addressForm, "a registry cannot be at an address of kind %.20q", scheme)
	}
	u, err := url.Parse(location)
	if err != nil {
		return Address{}, setupError(addressForm, "the location of the registry is not an address") // the parser's error would show it
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || u.Fragment != "" {
		return Address{}, setupError(addressForm, "the location of the registry is not an address")
	}
	for key, values := range query {
		if key != "endpoint" && key != "region" || len(values) != 1 {
			return Address{}, setupError(addressForm+"; credentials come from the environment", "the location of the registry has the parameter %.40q", key)
		}
	}
	a := Address{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/"), Endpoint: strings.TrimSuffix(query.Get("endpoint"), "/"), Region: query.Get("region")}
	return a, a.check()
}

func (a *Address) check() error {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`).MatchString(a.Bucket) {
		return setupError(addressForm, "%.80q is not the name of a bucket", a.Bucket)
	}
	if a.Prefix != "" {
		for p := range strings.SplitSeq(a.Prefix, "/") {
			if !regexp.MustCompile(`^[A-Za-z0-9_.=-]+$`).MatchString(p) || slices.Contains([]string{".", ".."}, p) {
				return setupError("use letters, digits and _ . = - between slashes", "%.80q cannot begin the names of objects", a.Prefix)
			}
		}
		a.Prefix += "/"
	}
	if a.Region != "" && !regexp.MustCompile(`^[a-z0-9-]{1,40}$`).MatchString(a.Region) {
		return setupError(addressForm, "%.80q is not a region", a.Region)
	}
	if a.Endpoint != "" {
		return checkEndpoint(a.Endpoint)
	}
	return nil
}

// checkEndpoint wants the address of a server, and nothing else in it.
func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.User != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return setupError("write https://HOST:PORT, or http:// for a server without TLS", "the endpoint of the registry is not the address of a server")
	}
	return nil
}

// String returns the address as [ParseAddress] takes it.
func (a Address) String() string {
	s := "s3://" + a.Bucket
	if a.Prefix != "" {
		s += "/" + strings.TrimSuffix(a.Prefix, "/")
	}
	var query []string
	if a.Endpoint != "" {
		query = append(query, "endpoint="+a.Endpoint)
	}
	if a.Region != "" {
		query = append(query, "region="+a.Region)
	}
	if len(query) > 0 {
		s += "?" + strings.Join(query, "&")
	}
	return s
}

// server returns the endpoint that counts, given what the environment says.
func (a Address) server(env func(string) string) (string, error) {
	if a.Endpoint != "" {
		return a.Endpoint, nil
	}
	e := strings.TrimSuffix(cmp.Or(env("AWS_ENDPOINT_URL_S3"), env("AWS_ENDPOINT_URL"), "https://s3.amazonaws.com"), "/")
	if err := checkEndpoint(e); err != nil {
		return "", fmt.Errorf("AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL: %w", err)
	}
	return e, nil
}
