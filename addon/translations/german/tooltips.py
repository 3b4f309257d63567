"""Tooltips, reasons why a button is disabled, and reports of operators."""

TOOLTIPS: dict[str, str] = {
    # the backend, its preferences and jobs
    "A CUDA GPU when there is one, else the CPU": "Eine CUDA-GPU, wenn es eine gibt, sonst die CPU",
    "A Python that has the backend's packages already; empty uses the one that Set Up Backend made":
        "Ein Python, das die Pakete des Backends schon hat; leer: das von „Backend einrichten“ angelegte",
    "An NVIDIA GPU": "Eine NVIDIA-GPU",
    "Clear the message of the last job": "Meldung des letzten Auftrags ausblenden",
    "Folder of Python packages to set up from without a network; empty downloads them":
        "Ordner mit Python-Paketen, aus dem ohne Netzwerk eingerichtet wird; leer: sie werden heruntergeladen",
    "Folder of wheels; empty: the preferences'": "Ordner mit Wheels; leer: der aus den Einstellungen",
    "For the backend, job files and logs; empty uses Blender's folder for this extension":
        "Für Backend, Auftragsdateien und Protokolle; leer: der Ordner, den Blender dieser Erweiterung gibt",
    "Create Actor stops with Blender, and resumes where it stopped when pressed again":
        "„Darsteller erstellen“ endet mit Blender und macht, wenn es wieder gedrückt wird, dort weiter, wo es aufhörte",
    "Create Actor keeps running without Blender. Press it again to wait for the actor and import it":
        "„Darsteller erstellen“ läuft ohne Blender weiter. Erneut gedrückt, wartet es auf den Darsteller und "
        "importiert ihn",
    "Install the backend in a Python environment of its own; Blender's Python stays as it is":
        "Installiert das Backend in einer eigenen Python-Umgebung; das Python von Blender bleibt, wie es ist",
    "Check that everything the backend needs is installed and works, and on which device":
        "Prüft, ob alles installiert ist und funktioniert, was das Backend braucht, und auf welchem Gerät es läuft",
    "Install again even if the backend looks complete; the old installation stays in use until then":
        "Installiert erneut, auch wenn das Backend vollständig scheint; bis dahin bleibt das alte in Gebrauch",
    "Python that makes the backend's environment; empty searches this computer for one":
        "Python, das die Umgebung des Backends anlegt; leer: auf diesem Rechner wird eines gesucht",
    "Show the folder in the system's file browser": "Zeigt den Ordner im Dateimanager des Systems",
    "Show what the backend wrote during the last job": "Zeigt, was das Backend beim letzten Auftrag geschrieben hat",
    "Slower; works everywhere": "Langsamer; läuft überall",
    "Stop the running job. What it has finished is kept and used again":
        "Hält den laufenden Auftrag an. Was fertig ist, bleibt erhalten und wird wieder verwendet",
    "The folder to show": "Der Ordner, der gezeigt wird",
    "Blur samples of the frames in the scene": "Unschärfe-Abtastwerte der Bilder in der Szene",
    "What happens to an actor that is being created": "Was mit einem Darsteller geschieht, der gerade erstellt wird",
    "Device that trains and renders actors, and for which Set Up Backend installs PyTorch":
        "Gerät, auf dem Darsteller trainiert und gerendert werden und für das „Backend einrichten“ PyTorch installiert",
    "Render missing or outdated frames of placed actors first when Blender renders the animation without a window (-b "
    "-a)":
        "Rendert fehlende oder veraltete Bilder platzierter Darsteller zuerst, wenn Blender die Animation ohne "
        "Fenster rendert (-b -a)",
    "Whether the frames in the scene have a Vector pass": "Ob die Bilder in der Szene einen Vektor-Durchgang haben",
    # making an actor
    "A blurred actor in seconds, to test a pipeline":
        "Ein verschwommener Darsteller in Sekunden, um eine Pipeline zu testen",
    "Add an actor folder to the scene: rig, face, camera, the footage's performance and its sound":
        "Fügt der Szene einen Darsteller aus seinem Ordner hinzu: Rig, Gesicht, Kamera, die Darbietung der Aufnahme "
        "und ihren Ton",
    "Create the actor from this face": "Erstellt den Darsteller aus diesem Gesicht",
    "Draw a clip of a talking head that is no real person, to try the extension without a video":
        "Zeichnet einen Clip mit einem sprechenden Kopf, der keine wirkliche Person ist, um die Erweiterung ohne "
        "Video auszuprobieren",
    "Folder for the actor; empty puts it beside the video": "Ordner für den Darsteller; leer: neben dem Video",
    "How long and how finely the actor is trained": "Wie lange und wie fein der Darsteller trainiert wird",
    "MediaPipe's face_landmarker.task, if you have it, to measure the channels; empty uses the built-in fit":
        "MediaPipes face_landmarker.task, falls vorhanden, um die Kanäle zu messen; leer: die eingebaute Anpassung",
    "Minutes on a CPU: to see whether the footage works": "Minuten auf einer CPU: um zu sehen, ob die Aufnahme taugt",
    "One person talking, facing the camera": "Eine Person, die zur Kamera spricht",
    "Seconds that the head talks": "Wie viele Sekunden der Kopf spricht",
    "Set the scene's camera, resolution, frame rate and last frame to the footage's. On by default only while the "
    "scene has no actor, and its camera (if any), resolution, frame rate and range are those that Blender starts with":
        "Setzt Kamera, Auflösung, Bildrate und letztes Bild der Szene auf die der Aufnahme. Von selbst nur an, "
        "solange die Szene keinen Darsteller hat und ihre Kamera (falls vorhanden), Auflösung, Bildrate und ihr "
        "Bereich die sind, mit denen Blender startet",
    "Side of the frame": "Seitenlänge des Bildes",
    "The .actor folder on disk": "Der .actor-Ordner auf der Festplatte",
    "The .mp4 to write": "Die .mp4-Datei, die geschrieben wird",
    "Best quality; needs a GPU or a night": "Beste Qualität; braucht eine GPU oder eine Nacht",
    "The person in the video agreed to become a digital actor":
        "Die Person im Video hat eingewilligt, ein digitaler Darsteller zu werden",
    "The person in the video; kept in the actor": "Die Person im Video; wird im Darsteller vermerkt",
    "The scene frame where the footage begins": "Das Bild der Szene, bei dem die Aufnahme beginnt",
    "The usual choice": "Die übliche Wahl",
    "Turn the video into an actor. Blender stays usable meanwhile, and a stopped job resumes where it stopped":
        "Macht aus dem Video einen Darsteller. Blender bleibt dabei benutzbar, und ein angehaltener Auftrag macht "
        "dort weiter, wo er aufhörte",
    "Name of the actor; empty uses the video's name": "Name des Darstellers; leer: der des Videos",
    "Which face, from the left": "Welches Gesicht, von links gezählt",
    "Which face, from the left, when the video shows several; 0: the only one":
        "Welches Gesicht, von links gezählt, wenn das Video mehrere zeigt; 0: das einzige",
    # the actor in the scene
    "The actor that the sidebar shows while no actor is selected":
        "Der Darsteller, den die Seitenleiste zeigt, solange keiner ausgewählt ist",
    "The armature's name; empty uses the selected actor": "Name des Skeletts; leer: der ausgewählte Darsteller",
    "The camera matched to the footage": "Die Kamera, die zur Aufnahme passt",
    "Range of each channel in the footage": "Bereich jedes Kanals in der Aufnahme",
    "The footage shows this channel moving": "Die Aufnahme zeigt diesen Kanal in Bewegung",
    "The proxy face": "Das Proxy-Gesicht",
    "Largest value in the footage": "Größter Wert in der Aufnahme",
    "Smallest value in the footage": "Kleinster Wert in der Aufnahme",
    "Load the footage with mesh, axes and mattes drawn over it as a movie clip, in time with the footage's take":
        "Lädt die Aufnahme, überzeichnet mit Netz, Achsen und Masken, als Filmclip, im Takt mit dem Take der Aufnahme",
    "Show what was found in the footage: film with overlay, curves, warnings and figures, in the web browser":
        "Zeigt im Webbrowser, was in der Aufnahme gefunden wurde: Film mit Overlay, Kurven, Hinweise und Messwerte",
    "Actor whose report is shown; empty uses the scene's actor":
        "Darsteller, dessen Bericht gezeigt wird; leer: der der Szene",
    # the preview
    "Beside the camera's view, show the preview as a card before the actor's face":
        "Zeigt die Vorschau außerhalb der Kameraansicht als Karte vor dem Gesicht des Darstellers",
    "Medium": "Mittel",
    "Draw the selected actor over the camera's view and update it whenever it moves. Press again to switch it off":
        "Zeichnet den ausgewählten Darsteller über die Kameraansicht und bei jeder Bewegung neu. Erneutes Drücken "
        "schaltet es ab",
    "Fast": "Schnell",
    "Distance of the line from the left": "Abstand der Linie vom linken Rand",
    "Factor by which differences are brightened": "Faktor, um den Unterschiede aufgehellt werden",
    "Opacity of the footage": "Deckkraft der Aufnahme",
    "Pixels of the live preview's longer side": "Pixel der längeren Seite der Live-Vorschau",
    "Sharp; slower without a GPU": "Scharf; ohne GPU langsamer",
    "Show the footage and the actor in one picture, through the matched camera":
        "Zeigt Aufnahme und Darsteller in einem Bild, durch die zur Aufnahme passende Kamera",
    "The actor alone": "Nur der Darsteller",
    "The footage left of a line, the actor right of it": "Links einer Linie die Aufnahme, rechts davon der Darsteller",
    "The footage over the actor, with adjustable opacity":
        "Die Aufnahme über dem Darsteller, mit einstellbarer Deckkraft",
    "Difference between the actor and the person in the footage; black means none":
        "Unterschied zwischen dem Darsteller und der Person in der Aufnahme; Schwarz heißt keiner",
    # channels
    "Every channel": "Jeder Kanal",
    "Eyes, brows, cheeks and nose": "Augen, Brauen, Wangen und Nase",
    "Strength of the mouth shape": "Stärke der Mundform",
    "Jaw, lips and tongue": "Kiefer, Lippen und Zunge",
    "Key the listed channels at the current frame with their present values":
        "Setzt beim aktuellen Bild Schlüsselbilder für die aufgelisteten Kanäle mit ihren jetzigen Werten",
    "Key the mouth for {}": "Setzt ein Schlüsselbild mit der Mundform für: {}",
    "Key the mouth shape of a speech sound at the current frame":
        "Setzt beim aktuellen Bild ein Schlüsselbild mit der Mundform eines Sprachlauts",
    "Let the channels of an overridden actor be keyed here: its mesh is overridden too, its takes are copied":
        "Macht die Kanäle eines überschriebenen Darstellers hier animierbar: auch sein Netz wird überschreibbar, "
        "seine Takes werden kopiert",
    "Only channels whose names contain this text": "Nur Kanäle, deren Namen diesen Text enthalten",
    "Set the listed channels to 0": "Setzt die aufgelisteten Kanäle auf 0",
    "Show only channels whose names contain this text": "Zeigt nur Kanäle, deren Namen diesen Text enthalten",
    "Swap left and right of the listed channels": "Vertauscht links und rechts der aufgelisteten Kanäle",
    "The actor is not a library override with linked channels":
        "Der Darsteller ist keine Bibliotheksüberschreibung mit verknüpften Kanälen",
    "The face has lost its channels: undo the change, or import the actor again":
        "Das Gesicht hat seine Kanäle verloren: die Änderung rückgängig machen oder den Darsteller neu importieren",
    "The speech sound whose mouth shape is keyed": "Der Sprachlaut, dessen Mundform gesetzt wird",
    "Group of channels": "Gruppe von Kanälen",
    "bed, see": "e, i: Bett, sie",
    "ch, sh, j": "sch, tsch, dsch",
    "f, v: lower lip at the teeth": "f, w: Unterlippe an den Zähnen",
    "father, cat": "a: Vater, Mann",
    "l, n, d, t": "l, n, d, t",
    "law, go": "o: Sonne, Boot",
    "m, b, p: lips together": "m, b, p: Lippen geschlossen",
    "s, z": "s, ß, z",
    "the mouth at rest": "den Mund in Ruhe",
    "w, wh": "englisches w: gerundete Lippen",
    "you, book": "u: du, Buch",
    # speaking and dubbing
    "Strip of the sequencer to speak at its place in time, instead of a file":
        "Streifen des Sequenzers, der an seiner Stelle gesprochen wird, statt einer Datei",
    "Another seed gives another delivery of the line": "Ein anderer Startwert ergibt eine andere Sprechweise",
    "Blinks and brows move with the voice": "Blinzeln und Brauen folgen der Stimme",
    "How far blinks close the eyes": "Wie weit das Blinzeln die Augen schließt",
    "Scale of the motion of head and torso": "Stärke der Bewegung von Kopf und Oberkörper",
    "Scale of the brows' motion": "Stärke der Brauenbewegung",
    "Scale of the mouth's motion": "Stärke der Mundbewegung",
    "Save how the actor speaks now as a preset, or remove the preset":
        "Speichert als Voreinstellung, wie der Darsteller jetzt spricht, oder entfernt sie",
    "Let the actor speak a sound file or a strip: makes curves that you can edit, and adds the sound":
        "Lässt den Darsteller eine Tondatei oder einen Streifen sprechen: erzeugt bearbeitbare Kurven und fügt den "
        "Ton hinzu",
    "Let the person in the original footage say another line: the shot stays, mouth and jaw are the actor's":
        "Lässt die Person der Originalaufnahme einen anderen Text sprechen: das Bild bleibt, Mund und Kiefer sind die "
        "des Darstellers",
    "Replace this range of the take in use; your keys before and after it stay":
        "Ersetzt diesen Abschnitt des aktuellen Takes; die Schlüsselbilder davor und danach bleiben",
    "Second of the footage at which that part begins": "Sekunde der Aufnahme, bei der dieser Teil beginnt",
    "Second of the footage at which that part ends": "Sekunde der Aufnahme, bei der dieser Teil endet",
    "Second of the footage at which the line begins": "Sekunde der Aufnahme, bei der der Text beginnt",
    "Duration over which the mouth's motion is averaged; lips still close":
        "Dauer, über die die Mundbewegung gemittelt wird; die Lippen schließen trotzdem",
    "Speak in the style of one part of the footage": "Spricht im Stil eines Teils der Aufnahme",
    "The head moves with the voice": "Der Kopf folgt der Stimme",
    "The line to speak": "Der Text, der gesprochen wird",
    "The scene frame where a sound file begins; a strip is spoken where it lies":
        "Das Bild der Szene, bei dem eine Tondatei beginnt; ein Streifen wird gesprochen, wo er liegt",
    "The video that the actor was made from; empty uses the crops in the actor's folder":
        "Das Video, aus dem der Darsteller entstand; leer: die Ausschnitte im Ordner des Darstellers",
    "The line and its settings": "Der Text und seine Einstellungen",
    # takes and captures
    "Bones and channels": "Knochen und Kanäle",
    "Frames of fades at overlaps": "Bilder, über die Überlappungen ineinander überblenden",
    "Frames per second of its timecodes; 0 derives the rate from them":
        "Bilder pro Sekunde seiner Timecodes; 0 leitet die Rate daraus ab",
    "Key the head too; otherwise it keeps its own take":
        "Setzt auch Schlüsselbilder für den Kopf; sonst behält er seinen eigenen Take",
    "Let the person in another video drive the actor: head, torso and face become a new take":
        "Lässt die Person eines anderen Videos den Darsteller steuern: Kopf, Oberkörper und Gesicht ergeben einen "
        "neuen Take",
    "Move the take in use to its own NLA track above the others, with fades where it overlaps them":
        "Legt den aktuellen Take auf eine eigene NLA-Spur über den anderen, mit Überblendungen, wo er sie überlappt",
    "Read a performance as a new take: a capture of Live Link Face (.csv) or a saved performance (.npz)":
        "Liest eine Darbietung als neuen Take: ein Capture von Live Link Face (.csv) oder eine gespeicherte "
        "Darbietung (.npz)",
    "Scale each channel to what the actor's own footage shows of it":
        "Skaliert jeden Kanal auf das, was die eigene Aufnahme des Darstellers von ihm zeigt",
    "Second of the capture with the relaxed face": "Sekunde des Captures mit dem entspannten Gesicht",
    "The .csv or .npz on disk": "Die .csv- oder .npz-Datei auf der Festplatte",
    "The actor has no take in use: choose one, or let it speak":
        "Der Darsteller hat keinen aktuellen Take: einen wählen oder ihn sprechen lassen",
    "The bones alone": "Nur die Knochen",
    "Subtract the relaxed face that the capture shows once":
        "Zieht das entspannte Gesicht ab, das das Capture einmal zeigt",
    "The channels alone": "Nur die Kanäle",
    "The file counts tilts to the left shoulder as positive": "Die Datei zählt Neigen zur linken Schulter positiv",
    "The file counts turns to the actor's right as positive":
        "Die Datei zählt Drehen nach rechts, vom Darsteller aus, positiv",
    "The file counts upward nods as positive": "Die Datei zählt Nicken nach oben positiv",
    "The scene frame where the performance begins": "Das Bild der Szene, bei dem die Darbietung beginnt",
    "The scene frame where the video begins": "Das Bild der Szene, bei dem das Video beginnt",
    "Part of the actor whose take is moved": "Teil des Darstellers, dessen Take verschoben wird",
    "Write the actor's performance in the frame range as a Live Link Face capture (.csv) or as a performance (.npz)":
        "Schreibt die Darbietung des Darstellers im Bildbereich als Capture von Live Link Face (.csv) oder als "
        "Darbietung (.npz)",
    # rendering
    "A card of OpenEXR frames keeps the footage's colors with Standard; choose PNG":
        "Eine Karte aus OpenEXR-Bildern behält die Farben der Aufnahme nur mit „Standard“; PNG wählen",
    "A film with the scene's sound; it is not placed in the scene":
        "Ein Film mit dem Ton der Szene; er wird nicht in der Szene platziert",
    "A rectangle in front of the camera that also casts the actor's shadow; needs no compositor":
        "Ein Rechteck vor der Kamera, das auch den Schatten des Darstellers wirft; ohne Compositor",
    "Display color with alpha": "Anzeigefarben mit Alpha",
    "Distance between rendered frames; 0 uses the scene's": "Abstand der gerenderten Bilder; 0: wie in der Szene",
    "Files only": "Nur Dateien",
    "Folder for the rendered frames": "Ordner für die gerenderten Bilder",
    "For the bundle: an empty folder, or one of an earlier export":
        "Für das Bündel: ein leerer Ordner oder der eines früheren Exports",
    "How far each pixel moves, for motion blur in the compositor; OpenEXR only":
        "Wie weit sich jedes Pixel bewegt, für Bewegungsunschärfe im Compositor; nur OpenEXR",
    "Frames that a machine renders in one task": "Bilder, die ein Rechner in einem Teilauftrag rendert",
    "Save how frames are rendered and placed now as a preset, or remove the preset":
        "Speichert als Voreinstellung, wie Bilder jetzt gerendert und platziert werden, oder entfernt sie",
    "Samples per frame while the shutter is open; each takes as long as a frame without blur":
        "Abtastwerte pro Bild bei offenem Verschluss; jeder dauert so lange wie ein Bild ohne Unschärfe",
    "Over the scene, as a group with sliders for edge, color and grain":
        "Über der Szene, als Gruppe mit Reglern für Kante, Farbe und Korn",
    "Render the actor through the scene's camera, and place the frames in the compositor":
        "Rendert den Darsteller durch die Kamera der Szene und legt die Bilder in den Compositor",
    "Scene-linear color with alpha, depth and mattes; for compositing":
        "Szenenlineare Farben mit Alpha, Tiefe und Masken; für das Compositing",
    "The scene's if not set": "Wie in der Szene, wenn nicht gesetzt",
    "File format of the rendered frames": "Dateiformat der gerenderten Bilder",
    "Where the rendered frames appear": "Wo die gerenderten Bilder erscheinen",
    "Write this shot as an Open Job Description bundle for render managers":
        "Schreibt diese Einstellung als Bündel nach Open Job Description für Render-Manager",
    # the sockets of the compositor's group
    "1 shows the footage's own colors through the scene's view transform":
        "1 zeigt die eigenen Farben der Aufnahme durch die Anzeigetransformation der Szene",
    "Brightens or darkens the actor in the same way": "Hellt den Darsteller ebenso auf oder dunkelt ihn ab",
    "Combined of the actor's frames": "Combined der Bilder des Darstellers",
    "Depth of the actor's frames; 0 is in front of everything":
        "Tiefe der Bilder des Darstellers; 0 ist vor allem anderen",
    "Hides the actor behind what is in front of it": "Verdeckt den Darsteller hinter dem, was vor ihm steht",
    "Added to the actor's light": "Wird zum Licht des Darstellers addiert",
    "Lets the light behind the actor spread over its edge":
        "Lässt das Licht hinter dem Darsteller über seine Kante strahlen",
    "Metres added to the actor's depth": "Meter, die zur Tiefe des Darstellers addiert werden",
    "Multiplies the actor's light": "Multipliziert das Licht des Darstellers",
    "Noise like that of film or a sensor": "Rauschen wie von Film oder Sensor",
    "Pixels by which the edge grows, or shrinks below 0": "Pixel, um die die Kante wächst, unter 0 schrumpft",
    "Pixels from the edge inwards": "Pixel von der Kante nach innen",
    "Pixels over which the grain is blurred": "Pixel, über die das Korn weichgezeichnet wird",
    "Pixels over which the edge is blurred": "Pixel, über die die Kante weichgezeichnet wird",
    "Removes the color of the footage's background from the edge":
        "Entfernt die Farbe des Hintergrunds der Aufnahme aus der Kante",
    "The Depth pass of the scene": "Der Tiefen-Durchgang der Szene",
    "The mean of the footage's background": "Das Mittel des Hintergrunds der Aufnahme",
    "Tints the actor as the scene's light differs from the footage's":
        "Färbt den Darsteller so, wie das Licht der Szene von dem der Aufnahme abweicht",
    "Color to remove; at first the background's mean": "Farbe, die entfernt wird; anfangs das Mittel des Hintergrunds",
    "Image behind the actor": "Bild hinter dem Darsteller",
    # reasons why a button is disabled
    "A job is running: wait for it, or cancel it": "Ein Auftrag läuft: abwarten oder abbrechen",
    "No job has run yet": "Es ist noch kein Auftrag gelaufen",
    "No job is running": "Es läuft kein Auftrag",
    "No video with several faces waits for a choice": "Kein Video mit mehreren Gesichtern wartet auf eine Auswahl",
    "The actor has no footage overlay: Create Actor writes one into the actor's folder":
        "Zu diesem Darsteller gibt es kein Overlay: „Darsteller erstellen“ legt eines in seinen Ordner",
    "There is no actor in the scene: create or import one":
        "In der Szene ist kein Darsteller: einen erstellen oder importieren",
    "There is no report: Create Actor writes one into the actor's folder":
        "Es gibt keinen Bericht: „Darsteller erstellen“ legt einen in den Ordner des Darstellers",
    # reports
    "The dub over {} is {}; Clip Editor and camera backgrounds list it as {}.":
        "Die Synchronfassung über {} ist {}; Clipeditor und Kamerahintergründe führen sie als {}.",
    "The film is {}.": "Der Film ist {}.",
    "The job is in {}.": "Der Auftrag ist in {}.",
    "The log does not exist anymore.": "Das Protokoll gibt es nicht mehr.",
    "The log is {}": "Das Protokoll ist {}",
    "The overlay runs at {:g} fps, the scene at another rate: they drift apart.":
        "Das Overlay läuft mit {:g} Bildern pro Sekunde, die Szene mit einer anderen Rate: sie laufen auseinander.",
    "The report is {}": "Der Bericht ist {}",
    "The scene keeps its settings; Match Scene sets the footage's camera, size and rate.":
        "Die Szene behält ihre Einstellungen; „Szene anpassen“ setzt Kamera, Größe und Rate der Aufnahme.",
    "The sample clip is {}.": "Der Beispielclip ist {}.",
    "the actor's own crops": "die Ausschnitte des Darstellers",
    "{} channels are keyed at frame {}.": "{} Kanäle haben bei Bild {} ein Schlüsselbild.",
    "{} frames are in {} and on a card in the scene.": "{} Bilder sind in {} und auf einer Karte in der Szene.",
    "{} frames are in {} and over the scene in the compositor.":
        "{} Bilder sind in {} und im Compositor über der Szene.",
    "{} frames are in {}.": "{} Bilder sind in {}.",
    "{} frames are in {}; Blender cannot show image sequences with negative frame numbers.":
        "{} Bilder sind in {}; Bildsequenzen mit negativen Bildnummern kann Blender nicht zeigen.",
    "{} frames of {} are in {}.": "{} Bilder von {} sind in {}.",
    "{} is filled in below: press Create Actor.": "{} ist unten eingetragen: „Darsteller erstellen“ drücken.",
    "{} is in the Clip Editor.": "{} ist im Clipeditor.",
    "{} is in the file; open a Movie Clip Editor to see it.": "{} ist in der Datei; ein Film-Clip-Editor zeigt ihn.",
    "{} is in the scene.": "{} ist in der Szene.",
    "{} is on an NLA track.": "{} ist auf einer NLA-Spur.",
    "{} is ready. Import it: the scene where the job was started is not open.":
        "{} ist fertig. Bitte importieren: die Szene, in der der Auftrag begonnen wurde, ist nicht offen.",
    "{} plays {} from frame {} to {}.": "{} spielt {} von Bild {} bis {}.",
    "{} speaks {} from frame {} to {}, in {}: its keys before and after are unchanged.":
        "{} spricht {} von Bild {} bis {}, in {}: die Schlüsselbilder davor und danach sind unverändert.",
    "{} speaks {} from frame {} to {}.": "{} spricht {} von Bild {} bis {}.",
}  # fmt: skip
