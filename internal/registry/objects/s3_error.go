package objects

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"

	"github.com/minio/minio-go/v7"
)

// Codes of S3's errors.
const (
	codeTaken    = "PreconditionFailed"         // the object is there
	codeConflict = "ConditionalRequestConflict" // somebody else writes it right now
)

// codeOf returns the code of an answer of the server, "" where there was no answer.
func codeOf(err error) string {
	if r, ok := errors.AsType[minio.ErrorResponse](err); ok {
		return r.Code
	}
	return ""
}

// retriable tells whether a request may have another outcome the next time. It is the one place that decides that.
func retriable(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, ErrSetup) {
		return false
	}
	r, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok { // no answer, or half of one
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
		return !untrusted
	}
	return r.StatusCode >= http.StatusInternalServerError || r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout ||
		slices.Contains([]string{
			"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "OperationAborted", "BadDigest", codeConflict,
			"ExistingObjectIsDirectory", /* says versitygw while somebody removes the object */
		}, r.Code)
}

const (
	credentialsHint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for one of ~/.aws/credentials"
	rightsHint      = "the registry needs s3:GetObject, s3:PutObject and s3:ListBucket, and s3:DeleteObject for gc"
)

// explain turns an error of a request into one of this package. It names the server and the bucket, never a header.
func (b *bucket) explain(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, ErrSetup) {
		return err
	}
	where := fmt.Sprintf("bucket %s at %s", b.addr.Bucket, b.server)
	r, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the address of the request
		}
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return setupError("SSL_CERT_FILE names a file with more authorities", "%s: its certificate is not trusted: %w", where, err)
		}
		return fmt.Errorf("%s: %w: %w", where, ErrUnreachable, err)
	}
	switch r.Code {
	case "NoSuchKey":
		return fs.ErrNotExist
	case "NoSuchBucket", "NoSuchBucketPolicy":
		return setupError("create it, or name another", "%s: there is no such bucket", where)
	case "AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden":
		if v, err := b.client.GetCreds(); err != nil || v.AccessKeyID == "" {
			return setupError(credentialsHint, "%s: there are no credentials for it", where)
		}
		return setupError(rightsHint, "%s: these credentials do not allow it", where)
	case "InvalidAccessKeyId", "XAdminUserNotFound" /* says versitygw */, "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidSecurity":
		return setupError(credentialsHint, "%s: the server does not accept the credentials (%s)", where, r.Code)
	case "RequestTimeTooSkewed":
		return setupError("set the clock of this machine", "%s: the clocks of this machine and of the server differ too much", where)
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion", "IllegalLocationConstraintException":
		return setupError("say region=REGION in the location", "%s: the bucket is in another region", where)
	}
	if retriable(err) {
		return fmt.Errorf("%s: %w: %w", where, ErrUnreachable, err)
	}
	if r.Code == codeTaken || r.Code == codeConflict {
		return fmt.Errorf("%s: %w", where, err)
	}
	return setupError("look at the address, and at what the server is", "%s: %s: %w", where, r.Code, err)
}
