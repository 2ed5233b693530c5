"""IAM, as far as every call needs it: checks the access key and the signature.

AWS: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html.
moto: keeps IAM's resources, but accepts any access key and any signature.
Added: `sigv4` computes the right signature of a request, `signatures` checks requests, `refusals` has each
service's error. Policies are not enforced.
"""
