"""The generated clients that are tried: each with the commands that docs/clients/ shows."""

import os

from tests.support.generated import GENERATOR_VERSION, GENERATORS, LINTERS, Sdk

# Of each client, `make test` has these two; `make sdks` has all that TEST_SDKS selects.
ALWAYS = ("openapi-python-client", "typescript-fetch")

_TSC = "npx tsc --strict --target es2022 --module nodenext --types node --outDir out upload.mts"
_NODE = "node out/upload.mjs"
_MAVEN, _COMPILE = "mvn -q -B", "dependency:copy-dependencies -DincludeScope=runtime compile"
_PYTHON_OPTIONS = "--path openapi.json --output-path imagegate_client --meta none"
_DERIVED = "s/^#.derive(Clone, Debug).$/#[derive(Clone, Debug, Default)]/"


def _generator(name, *options):
    jar = f"openapi-generator-cli-{GENERATOR_VERSION}.jar"
    return " ".join((f"java -jar {jar} generate -g {name} -i openapi.json", *options))


def _java(name, library):
    classes = "imagegate-client/target/classes:imagegate-client/target/dependency/*"
    return Sdk(
        name,
        "java",
        (
            _generator(
                f"java --library {library}",
                "-o imagegate-client --invoker-package imagegate --api-package imagegate",
                "--model-package imagegate.model --additional-properties="
                "enumUnknownDefaultCase=true,useSingleRequestParameter=true",
            ),
        ),
        f"java -cp '.:{classes}' Upload",
        (
            f"{_MAVEN} -f imagegate-client/pom.xml {_COMPILE}",
            f"javac -cp '{classes}' Upload.java Report.java",
        ),
        ("mvn", "javac"),
    )


SDKS = (
    Sdk(
        "openapi-python-client",
        "python",
        (f"openapi-python-client generate {_PYTHON_OPTIONS}",),
        "python upload.py",
        ("python -W error -m compileall -q imagegate_client",),
    ),
    Sdk(
        "python",
        "python",
        (_generator("python", "-o imagegate-client --package-name imagegate_client"),),
        "python upload.py",
        ("python -W error -m compileall -q imagegate-client/imagegate_client",),
        environment=(("PYTHONPATH", "imagegate-client"),),
    ),
    Sdk(
        "typescript-fetch",
        "typescript",
        (_generator("typescript-fetch", "-o imagegate-client"),),
        _NODE,
        (_TSC,),
        ("node", "npm"),
        LINTERS,
    ),
    Sdk(
        "typescript-axios",
        "typescript",
        (
            _generator(
                "typescript-axios",
                "-o imagegate-client",
                "--additional-properties=useSingleRequestParameter=true,importFileExtension=.js",
            ),
        ),
        _NODE,
        (_TSC,),
        ("node", "npm"),
        GENERATORS,
    ),
    Sdk(
        "hey-api",
        "typescript",
        ("npx openapi-ts -i openapi.json -o imagegate-client -c @hey-api/client-fetch",),
        _NODE,
        (_TSC,),
        ("node", "npm"),
        GENERATORS,
    ),
    Sdk(
        "openapi-fetch",
        "typescript",
        ("node generate.mjs",),
        _NODE,
        (_TSC,),
        ("node", "npm"),
        GENERATORS,
    ),
    Sdk(
        "orval",
        "typescript",
        ("npx orval --config orval.config.mjs",),
        _NODE,
        (_TSC,),
        ("node", "npm"),
        GENERATORS,
    ),
    Sdk(
        "go",
        "go",
        (
            _generator(
                "go",
                "-o imagegate --package-name imagegate --global-property apiTests=false",
                "--additional-properties="
                "withGoMod=false,enumClassPrefix=true,enumUnknownDefaultCase=true",
            ),
        ),
        "./upload",
        ("go build -o upload .",),
        ("go",),
        environment=(("GOFLAGS", "-mod=readonly"),),
    ),
    _java("java-native", "native"),
    _java("java-okhttp", "okhttp-gson"),
    Sdk(
        "kotlin",
        "kotlin",
        (
            _generator(
                "kotlin",
                "-o imagegate-client --package-name imagegate",
                "--additional-properties=enumPropertyNaming=UPPERCASE",
            ),
        ),
        "java -cp 'target/classes:target/dependency/*' UploadKt",
        (f"{_MAVEN} {_COMPILE}",),
        ("mvn",),
    ),
    Sdk(
        "rust",
        "rust",
        (
            _generator(
                "rust",
                "-o imagegate-client --package-name imagegate",
                "--additional-properties="
                "reqwestDefaultFeatures=rustls,useSingleRequestParameter=true",
            ),
            f"sed -i '{_DERIVED}' imagegate-client/src/apis/images_api.rs",
        ),
        "./target/debug/upload",
        ("cargo build -q",),
        ("cargo",),
    ),
)


def selected():
    """Return the clients to try: TEST_SDKS names some, or languages, or `all`."""
    names = os.environ.get("TEST_SDKS", "").split() or ALWAYS
    unknown = set(names) - {"all"} - {name for each in SDKS for name in (each.name, each.language)}
    if unknown:
        raise ValueError(f"TEST_SDKS: no client or language is called {', '.join(unknown)}")
    return [each for each in SDKS if {"all", each.name, each.language} & set(names)]
