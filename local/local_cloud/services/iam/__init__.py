"""IAM, as far as every call meets it: by which access key, and whether it is signed by it.

AWS: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html.
moto: its IAM is moto's alone. It takes any access key and any signature.
Added: `sigv4` computes what a request's signature has to be, `signatures` holds requests to it, `refusals`
says no in each service's words. Policies are not enforced.
"""
