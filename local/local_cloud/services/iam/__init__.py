"""IAM, as far as every call needs it: who signed it, and whether their policies allow it.

AWS: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html.
moto: keeps IAM's resources, but accepts any access key and any signature, and judges no call by a policy.
Added: `sigv4` computes the right signature of a request, `signatures` checks requests, `sessions` has the
credentials of functions, `roles` the policies of roles; `needs` says what each call needs, `policies` and
`conditions` what a policy says of a need, `authority` judges; `refusals` has each service's error.
"""
