/* Throw-away pairs of each kind, as OpenSSL writes them: for tests of what reads PEM and DER. */
#ifndef TEST_BASE_X509_PEMS_H
#define TEST_BASE_X509_PEMS_H

static const char ec_crt[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfjCCASSgAwIBAgIUALSHjKZfN77XeT+ZUXQihByPCDwwCgYIKoZIzj0EAwIw\n"
    "DTELMAkGA1UEAwwCZWMwIBcNMjYxMTI3MTkzMDMwWhgPMjEyNjExMDMxOTMwMzBa\n"
    "MA0xCzAJBgNVBAMMAmVjMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTrQfxLW\n"
    "pWJSu6LAnp38Eqi71znau8BsQcR0OytCNCYB93Wcfa0fApycnQOmpzYKley6xbjm\n"
    "dWwO8eUs0+2R9aNgMF4wPQYDVR0RAQH/BDMwMYIGQS50ZXN0gggqLmIudGVzdIcE\n"
    "wAACAYcQIAENuAAAAAAAAAAAAAAAAYEFeEB5LnowHQYDVR0OBBYEFBe8fGU/xxbd\n"
    "pwePbKgPEl8lt+U4MAoGCCqGSM49BAMCA0gAMEUCIFdj+hA9JjZA8iRQ30gcAKod\n"
    "ymT2D2EfkmRS4R5e0tQ7AiEA9VbVHW9LS1kXglybZ5YCTj/vQurq0Mm1oe/cszNy\n"
    "HoE=\n"
    "-----END CERTIFICATE-----\n";
static const char ec_sec1[] =
    "-----BEGIN EC PARAMETERS-----\n"
    "BggqhkjOPQMBBw==\n"
    "-----END EC PARAMETERS-----\n"
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEIPaYj9SwC02RQUcsbhI/yvJYXLc28hnRQMbE/ghdWBjToAoGCCqGSM49\n"
    "AwEHoUQDQgAEqTrQfxLWpWJSu6LAnp38Eqi71znau8BsQcR0OytCNCYB93Wcfa0f\n"
    "ApycnQOmpzYKley6xbjmdWwO8eUs0+2R9Q==\n"
    "-----END EC PRIVATE KEY-----\n";
static const char ec_pkcs8[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9piP1LALTZFBRyxu\n"
    "Ej/K8lhctzbyGdFAxsT+CF1YGNOhRANCAASpOtB/EtalYlK7osCenfwSqLvXOdq7\n"
    "wGxBxHQ7K0I0JgH3dZx9rR8CnJydA6anNgqV7LrFuOZ1bA7x5SzT7ZH1\n"
    "-----END PRIVATE KEY-----\n";
static const char rsa_crt[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBnjCCAQcCFEjEuDz06hmvHRDJNfVZm0Uieg85MA0GCSqGSIb3DQEBCwUAMA4x\n"
    "DDAKBgNVBAMMA3JzYTAeFw0yNjExMjcxOTMwMzFaFw0yNzExMjcxOTMwMzFaMA4x\n"
    "DDAKBgNVBAMMA3JzYTCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEAr2j0+6bB\n"
    "3kdA8mCDXo995NtydVf3wYfSf6oecdEQAttty29hWBSAlKmsyZPRrefgQs1CjaC1\n"
    "Whr8ZpTjhJ6qdhhPPJDH0pyhO9wrLw9qKA6tFGxcfrofirhLjjfS4Fs/6rC+Xz0+\n"
    "5o+MobdKFZDOtsTCmUCN6p206L18WEXkUjMCAwEAATANBgkqhkiG9w0BAQsFAAOB\n"
    "gQBBj1/fFsu1YbWWaW4BkaI4vnSI60ynBvxkMxdMxVJ1kRUvP5hUuh2DpUMRkK5N\n"
    "e9ZKxS/9/rWRBeBJ3uq11R7bSUtzMYDgJH3OA/CRfRMPq63eEz7262g2cGvqjrV9\n"
    "eZlidDKk7TkL5Ftl31y0JdCRXq54ww5gO5DKBul3hV8l0A==\n"
    "-----END CERTIFICATE-----\n";
static const char rsa_pkcs1[] =
    "-----BEGIN RSA PRIVATE KEY-----\n"
    "MIICXAIBAAKBgQCvaPT7psHeR0DyYINej33k23J1V/fBh9J/qh5x0RAC223Lb2FY\n"
    "FICUqazJk9Gt5+BCzUKNoLVaGvxmlOOEnqp2GE88kMfSnKE73CsvD2ooDq0UbFx+\n"
    "uh+KuEuON9LgWz/qsL5fPT7mj4yht0oVkM62xMKZQI3qnbTovXxYReRSMwIDAQAB\n"
    "AoGAEixnpWMDlwn+2p3RPozTWFC8LRguHSj7UCrJ+LTWWdVuLLOffEazg7OIqWHd\n"
    "SY1KmOE3UgEiiPFe0Sn/4I+nzWSRiQoAxxUhNi/1JuSGIkgKbpyM0bVg/rWvQ+v9\n"
    "np/G88qe33w4UCR+4CjgN1hRKTiP1eBZphNvLT/TR0oitbECQQDWcECKsvFzAJfB\n"
    "6K/PRKo6WR0HwPNm0WjT8oHy7PLwXGZ2C10etal4NEGM6wkCJTJvWkgD0sIh+DEu\n"
    "C9Xbdb3vAkEA0Wg8gy904m8gLNWUhum9ikDdRA3ZNhjRVXTP0oaq7t0MRqnhWjBl\n"
    "2tT+07d9pQnTmEB8qdwrYiCtpPxErl8z/QJAehNrWspmE/8pZbWOqKNBeXgTw78/\n"
    "ka/zSn2LJv1njBg+KENt3rayZIDzNEL1XOhKHwQ5bRvFcss1TC5mr8oGtwJBALGs\n"
    "BDO2LzDz4lPH/1YcufG0qUfVjCdHFU2xZ6cTFbLHIGRQPODd0X3DXFbcB6Hg3YP/\n"
    "qwYfxTtjyJEEbW2ZXy0CQBwqsfLnTdq2R+fPC0qatl/owa06HvDPe+874tjW61LC\n"
    "2sjlHe0x6eli60rUDNcfahMqmvNm/lAmY88xnUviTCA=\n"
    "-----END RSA PRIVATE KEY-----\n";
static const char rsa_pkcs8[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAK9o9Pumwd5HQPJg\n"
    "g16PfeTbcnVX98GH0n+qHnHREALbbctvYVgUgJSprMmT0a3n4ELNQo2gtVoa/GaU\n"
    "44SeqnYYTzyQx9KcoTvcKy8PaigOrRRsXH66H4q4S4430uBbP+qwvl89PuaPjKG3\n"
    "ShWQzrbEwplAjeqdtOi9fFhF5FIzAgMBAAECgYASLGelYwOXCf7andE+jNNYULwt\n"
    "GC4dKPtQKsn4tNZZ1W4ss598RrODs4ipYd1JjUqY4TdSASKI8V7RKf/gj6fNZJGJ\n"
    "CgDHFSE2L/Um5IYiSApunIzRtWD+ta9D6/2en8bzyp7ffDhQJH7gKOA3WFEpOI/V\n"
    "4FmmE28tP9NHSiK1sQJBANZwQIqy8XMAl8Hor89EqjpZHQfA82bRaNPygfLs8vBc\n"
    "ZnYLXR61qXg0QYzrCQIlMm9aSAPSwiH4MS4L1dt1ve8CQQDRaDyDL3TibyAs1ZSG\n"
    "6b2KQN1EDdk2GNFVdM/Shqru3QxGqeFaMGXa1P7Tt32lCdOYQHyp3CtiIK2k/ESu\n"
    "XzP9AkB6E2taymYT/ylltY6oo0F5eBPDvz+Rr/NKfYsm/WeMGD4oQ23etrJkgPM0\n"
    "QvVc6EofBDltG8VyyzVMLmavyga3AkEAsawEM7YvMPPiU8f/Vhy58bSpR9WMJ0cV\n"
    "TbFnpxMVsscgZFA84N3RfcNcVtwHoeDdg/+rBh/FO2PIkQRtbZlfLQJAHCqx8udN\n"
    "2rZH588LSpq2X+jBrToe8M977zvi2NbrUsLayOUd7THp6WLrStQM1x9qEyqa82b+\n"
    "UCZjzzGdS+JMIA==\n"
    "-----END PRIVATE KEY-----\n";
static const char ed_crt[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBEjCBxaADAgECAhQL8xRNABTUlLSPa7PEy0Tdy8mtgDAFBgMrZXAwDTELMAkG\n"
    "A1UEAwwCZWQwIBcNMjYxMTI3MTkzMDMxWhgPMjEyNjExMDMxOTMwMzFaMA0xCzAJ\n"
    "BgNVBAMMAmVkMCowBQYDK2VwAyEABIQgmB+zwfYc2o8knrqlu5D2WgxhEewSkICB\n"
    "+Ra7kk2jNTAzMBIGA1UdEQQLMAmCB2VkLnRlc3QwHQYDVR0OBBYEFBd/hpmZOuMA\n"
    "D0Soib/uUB2D7JcjMAUGAytlcANBAMvpKxzBSAfEIpMpdQkjIGFp5xtV6SmzcoHS\n"
    "PshtcvDn5+7sxzGiWqGtzD5Ns5sQ2PSUGDLx37bTl36PN+wSuAw=\n"
    "-----END CERTIFICATE-----\n";
static const char ed_pkcs8[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIFMtLHSpxk1DoU6RX/Ks50Oa2YWfdBiBByUJkzpKfLAI\n"
    "-----END PRIVATE KEY-----\n";

#endif
